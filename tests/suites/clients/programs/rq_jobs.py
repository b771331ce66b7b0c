"""RQ: two workers that fork for each job, a producer, results; the server is killed while jobs are enqueued and run.

Packages: rq==3.0.0
"""

import common
from redis import Redis
from rq import Queue, Retry


def recover(queue):
    """RQ keeps a job that its worker lost where an operator finds it; by itself it would wait for minutes."""
    queue.started_job_registry.cleanup(2**32)
    for job_id in queue.intermediate_queue.get_job_ids():
        queue.intermediate_queue.remove(job_id)
        queue.enqueue_job(queue.fetch_job(job_id))
    for job_id in queue.failed_job_registry.get_job_ids():
        queue.failed_job_registry.requeue(job_id)


def main():
    """The scenario."""
    queue = Queue(connection=Redis(port=common.PORT))
    for _ in range(2):
        common.Supervised("rq", "worker", "--url", common.URL, "--with-scheduler")
    job = queue.enqueue(pow, 2, 10)
    common.eventually(lambda: job.return_value() == 1024, "the first result")
    common.queue(
        lambda number: queue.enqueue(common.job, number, retry=Retry(max=3)), count=40, recover=lambda: recover(queue)
    )
