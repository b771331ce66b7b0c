"""dramatiq: a worker of two threads, a producer, results; the server is killed while jobs are enqueued and run.

Packages: dramatiq[redis]==2.2.1
"""

import functools

import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=common.URL, heartbeat_timeout=5000, maintenance_chance=100_000)
broker.add_middleware(Results(backend=RedisBackend(url=common.URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=3)
def work(number):
    """A job of the scenario."""
    common.job(number)


@dramatiq.actor(store_results=True)
def add(a, b):
    """A job with a result."""
    return a + b


def main():
    """The scenario."""
    worker = common.Supervised("dramatiq", "dramatiq_jobs", "--processes", "1", "--threads", "2")
    assert add.send(3, 4).get_result(block=True, timeout=60_000) == 7
    # What a worker was just about to get stays its own as long as it lives: it is started again, once.
    common.queue(work.send, recover=functools.cache(worker.restart))
