"""The server as a whole: CONFIG, TIME, compaction under Redis's names, MONITOR, SHUTDOWN."""

from __future__ import annotations

from kvstore.base.errors import Failure, syntax_error
from kvstore.base.reply import NO_REPLY, OK, Reply, Status, Wait
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S, US_PER_S
from kvstore.commands.registry import ADMIN, FAST, NO_MULTI, command, container
from kvstore.commands.row import ALONE, NO_SCRIPT

container("CONFIG", "Look at the settings, and change them.", group="server")


@command("CONFIG|GET", ADMIN | NO_SCRIPT, group="server")
def config_get(call: Call, parameter: bytes, *parameters: bytes) -> Reply:
    """List the settings whose names match one of the glob patterns.

    Unlike Valkey, the server's own options are settings, too.
    """
    return call.server.configuration.matching((parameter, *parameters))


@command("CONFIG|SET", ADMIN | NO_SCRIPT, group="server", options="[parameter value ...]")
def config_set(call: Call, parameter: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Change settings, all of them or none, until the server stops.

    Unlike Valkey, of what a promise hangs on, or what there is none of (`appendfsync`), it takes the
    value that it has, and says why it can be no other. Of a request that fails no event is told
    (`notify-keyspace-events`), `keymiss` not either; OBJECT tells of it as any other that reads. That a key has expired
    is told when a request that reads does not find it, when a write takes its place, or a little later; there also of a
    write that changes nothing, and as `del` where SINTERSTORE and its kin put nothing in its place.
    """
    if len(pairs) % 2:
        raise syntax_error()
    call.server.configuration.set([(parameter, value), *zip(pairs[::2], pairs[1::2], strict=True)])
    return OK


@command("CONFIG|RESETSTAT", ADMIN | NO_SCRIPT, group="server")
def config_resetstat(call: Call) -> Reply:
    """Set the counters that INFO shows to zero.

    Unlike Valkey, compactions are counted on (`rdb_saves`, `aof_rewrites`, `total_forks`).
    """
    server = call.server
    server.reset_counters(server.network_bytes())
    for table in call.store.databases:
        table.expired_count = table.expired_inside = table.hits = table.misses = 0
    server.memory.reset_counters()
    if server.scripts is not None:
        server.scripts.forgotten = 0
    server.statistics.reset()
    return OK


@command("CONFIG|REWRITE", ADMIN | NO_SCRIPT, group="server")
def config_rewrite(call: Call) -> Reply:
    """Write what CONFIG SET has set into the file of --config, and, without --acl-file, the users.

    That is what is otherwise than at the start, and what is in the file already.

    Unlike Valkey, a line that says what is so anyway stays as it is, also one that nobody understands. A default user
    who is as the other settings make it gets no line: it would contradict a `requirepass` written there later.
    """
    if call.server.rewrite_configuration is None:
        raise Failure("The server is running without a config file")
    try:
        call.server.rewrite_configuration()
    except OSError as error:
        raise Failure(f"Rewriting config file: {error.strerror}") from None
    return OK


@command("TIME", FAST, group="server")
def time(call: Call) -> Reply:
    """Tell the server's clock, as the request sees it: seconds since the epoch, and microseconds of the current one."""
    seconds, microseconds = divmod(call.store.clock.in_us(), US_PER_S)
    return [b"%d" % seconds, b"%d" % microseconds]


@command("LASTSAVE", FAST, group="server")
def lastsave(call: Call) -> Reply:
    """Tell when the newest checkpoint was made, in seconds since the epoch."""
    return call.server.checkpoint_ms() // MS_PER_S


@command("SAVE", ADMIN | NO_MULTI | NO_SCRIPT, group="server")
def save(call: Call) -> Reply:
    """Have the log merged into a new checkpoint by another process, and wait for it; others are served meanwhile.

    Unlike Valkey, it waits for a compaction: what is written is on disk without it.
    """
    server = call.server
    if not server.compact_now():
        raise Failure("Background save already in progress")
    server.saving.add(call.client)

    def again() -> Reply | None:
        error = server.save_error()
        if error:
            raise Failure(f"no checkpoint was made: {error}")
        return OK if error is not None else None

    return Wait((), type(None), None, again, OK, Failure("the checkpoint is still being made"))


@command("BGSAVE", ADMIN | NO_SCRIPT, group="server", options="[SCHEDULE|CANCEL]")
def bgsave(call: Call, *options: bytes) -> Reply:
    """Begin a compaction: the log is merged into a new checkpoint by another process.

    Unlike Valkey, it starts a compaction: what is written is on disk without it. `CANCEL` ends none.
    """
    if options and (len(options) > 1 or options[0].upper() not in (b"SCHEDULE", b"CANCEL")):
        raise syntax_error()
    if options and options[0].upper() == b"CANCEL":
        raise Failure(
            "Background saving is currently not in progress or scheduled"
            if call.server.save_error() is not None
            else "a compaction is not cancelled: it holds nobody up, and the log is the shorter for it"
        )
    if not call.server.compact_now():
        raise Failure("Background save already in progress")
    return Status("Background saving started")


@command("BGREWRITEAOF", ADMIN | NO_SCRIPT, group="server")
def bgrewriteaof(call: Call) -> Reply:
    """Begin a compaction: the log is merged into a new checkpoint by another process.

    Unlike Valkey, it starts a compaction, as BGSAVE does.
    """
    if not call.server.compact_now():
        raise Failure("Background append only file rewriting already in progress")
    return Status("Background append only file rewriting started")


@command("MONITOR", ADMIN | ALONE | NO_SCRIPT, group="server")
def monitor(call: Call) -> Reply:
    """Show every request of every client, as it executes, until the connection ends.

    Unlike Valkey, it also shows requests that are refused and those for administrators, a request inside MULTI when it
    is queued, and not the client's own.
    """
    call.client.monitoring = True
    return OK


@command("SHUTDOWN", ADMIN | NO_MULTI | NO_SCRIPT, group="server", options="[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]")
def shutdown(call: Call, *options: bytes) -> Reply:
    """Stop the server; every acknowledged write is on disk already, whatever the options.

    No reply but the closed connection.

    Unlike Valkey, it saves nothing: there is nothing that is not on disk.
    """
    given = {option.upper() for option in options}
    if given == {b"ABORT"}:
        raise Failure("No shutdown in progress.")
    if not given <= {b"NOSAVE", b"SAVE", b"NOW", b"FORCE"} or given >= {b"NOSAVE", b"SAVE"}:
        raise syntax_error()
    call.client.closing = True
    call.server.shutdown()
    return NO_REPLY
