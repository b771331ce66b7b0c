"""arq: an asyncio worker, a producer, results; the server is killed while jobs are enqueued and run.

Packages: arq==0.28.0
"""

import asyncio

import common
from arq import create_pool
from arq.connections import RedisSettings

SETTINGS = RedisSettings(port=common.PORT, conn_retries=30)


async def work(_, number):
    """A job of the scenario; blocking, so that they run one by one."""
    common.job(number)
    return number * 2


class WorkerSettings:
    """What `arq` reads."""

    functions = (work,)
    redis_settings = SETTINGS
    max_jobs = 2
    job_timeout = 5
    poll_delay = 0.1


def main():
    """The scenario. Its pool lives on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    common.in_background(loop.run_forever)

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    pool = wait(create_pool(SETTINGS))
    common.Supervised("arq", "arq_jobs.WorkerSettings")
    assert wait(wait(pool.enqueue_job("work", 0)).result(timeout=60)) == 0
    common.queue(lambda number: wait(pool.enqueue_job("work", number)))
