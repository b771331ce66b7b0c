"""taskiq: taskiq-redis's stream broker with a consumer group, a worker, results; the server is killed while jobs are
enqueued and run.

Packages: taskiq-redis==1.2.4
"""

import asyncio

import common
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(common.URL, idle_timeout=3000, xread_block=500).with_result_backend(
    RedisAsyncResultBackend(common.URL)
)


@broker.task(task_name="work")
def work(number: int) -> int:
    """A job of the scenario."""
    common.job(number)
    return number * 2


def main():
    """The scenario. The broker lives on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    common.in_background(loop.run_forever)

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    wait(broker.startup())
    common.Supervised("taskiq", "worker", "taskiq_jobs:broker", "--workers", "1", "--max-async-tasks", "2")
    assert wait(wait(work.kiq(-21)).wait_result(timeout=60)).return_value == -42
    common.queue(lambda number: wait(work.kiq(number)))
