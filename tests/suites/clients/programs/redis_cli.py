"""redis-cli: commands with and without a terminal's format, --scan, --bigkeys, --memkeys, --stat, --latency,
--eval, --pipe, -x, -r, -3, MONITOR, SUBSCRIBE; then the same keys after a kill.
"""

import json
import subprocess

import common


def cli(*words, data="", seconds=30, status=0):
    """What redis-cli prints. One that runs on until it is stopped is stopped after `seconds`."""
    command = ["timeout", str(seconds), "stdbuf", "-oL", "redis-cli", "-p", str(common.PORT), *words]
    done = subprocess.run(command, input=data, capture_output=True, text=True)
    assert done.returncode == status, (words, done)
    assert "ERR" not in done.stdout and not done.stderr, (words, done)
    return done.stdout


def fill():
    """A mass insertion, and a key of each type."""
    keys = "".join(f"*3\r\n$3\r\nSET\r\n$8\r\nkey:{n:04}\r\n$5\r\nvalue\r\n" for n in range(1000))
    assert "errors: 0, replies: 1000" in cli("--pipe", data=keys)
    typed = "RPUSH list a b c\nHSET hash f v\nSADD set a b\nZADD zset 1 a 2 b\nXADD stream 1-1 f v\n"
    assert cli(data=typed).split() == ["3", "1", "2", "2", "1-1"]


def main():
    """Every mode but --ldb and --cluster."""
    fill()
    assert len(cli("--scan", "--pattern", "key:*").split()) == 1000
    assert "Biggest string found" in cli("--bigkeys") and "Biggest zset" in cli("--bigkeys")
    assert "1005 keys" in cli("--memkeys").replace("Sampled ", "").replace(" in the keyspace", "")
    assert "1005" in cli("--stat", "-i", "0.2", seconds=1, status=124)
    assert float(cli("--latency", "-i", "1", seconds=5).split()[2]) >= 0
    cli("--latency-history", "-i", "1", seconds=3, status=124)
    cli("--latency-dist", "-i", "1", seconds=3, status=124)
    cli("--intrinsic-latency", "1")
    script = common.SCRATCH / "script.lua"
    script.write_text("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}")
    assert cli("--eval", str(script), "key:0001", ",", "x").split() == ["key:0001", "x", "value"]
    assert cli("-x", "SET", "read", data="from the input").strip() == "OK"
    assert cli("GET", "read").strip() == "from the input"
    assert cli("-r", "5", "INCR", "n").split() == list("12345")
    assert cli("--no-raw", "LRANGE", "list", "0", "-1").split("\n")[0] == '1) "a"'
    assert cli("--csv", "LRANGE", "list", "0", "-1").strip() == '"a","b","c"'
    assert json.loads(cli("-3", "--json", "HGETALL", "hash")) == {"f": "v"}
    assert "1# " in cli("-3", "--no-raw", "HGETALL", "hash")
    assert cli("-n", "3", "DBSIZE").strip() == "0"
    assert "OK" in cli("MONITOR", seconds=1, status=124)
    assert "subscribe" in cli("SUBSCRIBE", "c", seconds=1, status=124)
    assert "redis_version" in cli("INFO") and "GET" in cli("COMMAND", "DOCS", "GET").upper()
    common.crash()
    assert cli("DBSIZE").strip() == "1007" and cli("ZRANGE", "zset", "0", "-1").split() == ["a", "b"]
    common.works("each mode as it prints with Valkey; all 1007 keys are there after the kill")
