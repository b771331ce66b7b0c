"""What tests need, those of programs that use kvstore too: a disk in memory that loses, tears and refuses
(`simulated_disk`), a server in memory (`memory_server`), a real one in a process of its own (`server_process`).
"""
