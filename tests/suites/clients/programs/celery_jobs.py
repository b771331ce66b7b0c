"""Celery: a worker of two processes with late acknowledgement, a producer, a result backend and a chord; the server is
killed while jobs are enqueued and run.

Packages: celery[redis]==5.7.0
"""

import sys

import common
from celery import Celery, chord

app = Celery("celery_jobs", broker=common.URL, backend=common.URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=2,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 8, "socket_timeout": 20},
    task_publish_retry=True,
)


@app.task
def work(number):
    """A job of the scenario."""
    common.job(number)


@app.task
def double(number):
    """A part of the chord."""
    return number * 2


@app.task
def total(numbers):
    """The end of the chord."""
    return sum(numbers)


def restore():
    """What every worker does to messages without acknowledgement, after 100 s."""
    with app.connection() as connection:
        connection.default_channel.qos.restore_visible()


def main():
    """The scenario."""
    common.Supervised(sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "-c", "2", "--loglevel", "INFO")
    assert chord(double.s(n) for n in range(10))(total.s()).get(timeout=60) == 90
    # Celery takes a message out of its queue before it notes it as not acknowledged.
    common.queue(work.delay, recover=restore, in_flight=1)
