"""huey: a consumer with two threads, a producer, results; the server is killed while jobs are enqueued and run.

Packages: huey==3.5.4 redis==8.1.0
"""

import common
from huey import RedisHuey

huey = RedisHuey(port=common.PORT, blocking=True)


@huey.task()
def work(number):
    """A job of the scenario."""
    common.job(number)


@huey.task()
def add(a, b):
    """A job with a result."""
    return a + b


def main():
    """The scenario."""
    common.Supervised("huey_consumer", "huey_jobs.huey", "-w", "2", "-k", "thread")
    assert add(3, 4)(blocking=True, timeout=60) == 7
    common.queue(work, once=True, in_flight=2)
