"""Settings: endpoints, and what CONFIG GET shows of them."""

from __future__ import annotations

import dataclasses

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.edge.settings import GroupSettings, Settings


class SettingsTests(SynchronousTestCase):
    """One server's settings."""

    def test_endpoints(self) -> None:
        """The port, on the loopback address only, comes before the other endpoints, unless there is none."""
        self.assertEqual(Settings(data_path="/d", port=0).endpoints, ("tcp:0:interface=127.0.0.1:backlog=4096",))
        both = Settings(data_path="/d", port=7, listen=("unix:/s",))
        self.assertEqual(both.endpoints, ("tcp:7:interface=127.0.0.1:backlog=4096", "unix:/s"))
        self.assertEqual(Settings(data_path="/d", port=None, listen=("unix:/s",)).endpoints, ("unix:/s",))

    def test_config_has_redis_names(self) -> None:
        """Clients find under Redis's names what they use to ask for."""
        config = Settings(data_path="/d", sync="everysec", max_clients=5, max_request_bytes=2048).as_config()
        expected = {
            "appendfsync": "everysec",
            "databases": "16",
            "dir": "/d",
            "maxclients": "5",
            "port": "6380",
            "proto-max-bulk-len": "2048",
            "timeout": "0",
        }
        self.assertEqual({name: config[name] for name in expected}, expected)

    def test_config_has_every_setting(self) -> None:
        """Each setting that is changed shows somewhere in CONFIG GET, always as text."""
        plain = Settings(data_path="/d", project="p")
        changes = {
            "data_path": "/e",
            "port": 1,
            "listen": ("unix:/s",),
            "sync": "no",
            "compact_after_entries": 1,
            "overlap": "never",
            "group_limit": 1,
            "project": "q",
            "owner": "o",
            "catalog": Address("::1", 1),
            "keep_log_path": "/k",
            "trace_path": "/t",
            "log_clients": True,
            "databases": 1,
            "max_memory_bytes": 1,
            "max_memory_policy": "allkeys-lru",
            "max_clients": 1,
            "max_request_bytes": 1,
            "max_input_bytes": 1,
            "pause_reading_bytes": 1,
            "drop_client_bytes": 1,
            "client_share_ms": 1,
            "script_ms": 1,
            "idle_timeout_s": 1,
            "log_format": "json",
            "log_level": "warn",
            "log_path": "/l",
            "debugging": "yes",
            "tls_client_ca_path": "/c",
            "password_hash": b"0",
            "acl_file_path": "/u",
            "insecure": True,
            "configured": {"max-json-depth": "7"},
            "config_path": "/f",
            "http": "tcp:1",
            "http_hosts": ("h",),
            "group": GroupSettings(name="g", log="etcd://e:1", advertise=Address("a", 1)),
        }
        fields = {field.name for field in dataclasses.fields(Settings)} - {"users"}  # whom ACL LIST shows
        missing = fields ^ set(changes)
        advice = "a new setting needs a change here, and a line in Settings.as_config (kvstore/edge/settings.py)"
        self.assertEqual(missing, set(), advice)
        for name, value in changes.items():
            config = dataclasses.replace(plain, **{name: value}).as_config()  # type: ignore[arg-type]
            self.assertNotEqual(
                config, plain.as_config(), f"{name} is not in Settings.as_config, kvstore/edge/settings.py"
            )
            self.assertTrue(all(type(text) is str for text in config.values()))
