"""What tests need, those of programs that use kvstore too: a disk in memory that loses, tears and refuses
(`simulated_disk`), a server in memory (`memory_server`), a real one in a thread (`server_thread`, and `pytest` for a
fixture of it), on Trial's reactor (`trial`), in a process of its own (`server_process`). See docs/EMBEDDING.md.
"""
