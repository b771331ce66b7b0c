"""redis-benchmark: all its default tests and XADD, 50 clients, plain and with pipelines of 16; some in RESP3, and with
threads.
"""

import subprocess

import common

# fmt: off
_TESTS = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP",
          "ZADD", "ZPOPMIN", "LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600", "MSET"]
# fmt: on


def benchmark(*words):
    """What it prints, with nothing on standard error but what it says of CONFIG."""
    command = ["redis-benchmark", "-p", str(common.PORT), "-q", "-r", "1000", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "rror" not in said and "WARNING" not in said, said[-500:]
    return said.replace("\r", "\n")


def main():
    """All of them, several ways."""
    ran = benchmark("-n", "1000") + benchmark("-n", "5000", "-P", "16")
    missing = [name for name in _TESTS if name.split("_")[0] not in ran or (name[-1] == "0" and name[-3:] not in ran)]
    assert not missing, missing
    benchmark("-n", "2000", "-3", "-t", "set,get,hset")
    benchmark("-n", "2000", "--threads", "2", "-t", "set,get,lpush")
    benchmark("-n", "1000", "XADD", "stream", "*", "field", "__rand_int__")  # a default test only of newer ones
    benchmark("-n", "1000", "eval", "return redis.call('INCR', KEYS[1])", "1", "counter:__rand_int__")
    common.works("every test ends, with no error and no warning")
