"""Fields of Valkey's INFO that tell of something there is none of here, and the value which is true without it.

Programs look fields up by name, and some stop without one (redis-py's own tests do without `cluster_enabled`). By
section; `name=value` between blanks, 0 where no value stands.
"""

from __future__ import annotations

_FIELDS = {
    "server": """
        redis_git_sha1=00000000 redis_git_dirty redis_build_id=0000000000000000 process_supervised=no
        io_threads_active
    """,
    "tls": """
        tls_server_cert_serial=none tls_server_cert_expires_in_seconds tls_client_cert_serial=none
        tls_client_cert_expires_in_seconds tls_ca_cert_serial=none tls_ca_cert_expires_in_seconds
    """,
    "clients": "cluster_connections",
    "memory": """
        allocator_muzzy mem_replication_backlog mem_total_replication_buffers
        mem_replicas_repl_buffer mem_clients_slaves mem_cluster_links mem_cluster_slot_import mem_cluster_slot_export
        mem_overhead_db_hashtable_rehashing active_defrag_running lazyfreed_objects
    """,
    "persistence": """
        async_loading current_cow_peak current_cow_size current_cow_size_age current_fork_perc=0.00
        current_save_keys_processed current_save_keys_total rdb_last_cow_size rdb_last_load_keys_expired
        aof_rewrite_scheduled aof_rewrites_consecutive_failures aof_last_cow_size aof_pending_rewrite
        aof_pending_bio_fsync aof_delayed_fsync module_fork_in_progress module_fork_last_cow_size
        slot_migration_fork_in_progress
    """,
    "stats": """
        total_net_repl_input_bytes total_net_repl_output_bytes total_net_cluster_slot_import_bytes
        total_net_cluster_slot_export_bytes instantaneous_input_repl_kbps=0.00 instantaneous_output_repl_kbps=0.00
        sync_full sync_partial_ok sync_partial_err expired_stale_perc=0.00
        expired_keys_with_volatile_items_stale_perc=0.00 expired_time_cap_reached_count expire_cycle_cpu_milliseconds
        migrate_cached_sockets slave_expires_tracked_keys active_defrag_hits
        active_defrag_misses active_defrag_key_hits active_defrag_key_misses total_active_defrag_time
        current_active_defrag_time
        unexpected_error_replies dump_payload_sanitizations total_reads_processed total_writes_processed
        io_threaded_reads_processed io_threaded_writes_processed io_threaded_freed_objects io_threaded_accept_processed
        io_threaded_poll_processed io_threaded_total_prefetch_batches io_threaded_total_prefetch_entries
        client_query_buffer_limit_disconnections reply_buffer_shrinks
        reply_buffer_expands eventloop_cycles eventloop_duration_sum eventloop_duration_cmd_sum
        instantaneous_eventloop_cycles_per_sec instantaneous_eventloop_duration_usec
        acl_access_denied_tls_cert
    """,
    "replication": """
        replicas_waiting_psync master_failover_state=no-failover
        master_replid2=0000000000000000000000000000000000000000 master_repl_offset second_repl_offset=-1
        repl_backlog_active repl_backlog_first_byte_offset repl_backlog_histlen
    """,
    "scriptingengines": "engines_count engines_total_used_memory engines_total_memory_overhead",
}


def absent_fields(section: str) -> dict[str, str]:
    """The fields of a section, named in lower case and without blanks."""
    pairs = (word.partition("=") for word in _FIELDS.get(section, "").split())
    return {name: value if equals else "0" for name, equals, value in pairs}
