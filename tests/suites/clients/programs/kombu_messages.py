"""kombu: a producer with retries and a consumer that acknowledges after the work; the server is killed
while messages are sent and consumed.

Packages: kombu[redis]==5.7.0
"""

import common
from kombu import Connection, Consumer, Queue
from kombu.mixins import ConsumerMixin

_QUEUE = Queue("work")


class Worker(ConsumerMixin):
    """Consumes as long as the program runs, and connects again by itself."""

    def __init__(self, connection):
        self.connection = connection

    def get_consumers(self, _, channel):
        """One queue, one message at a time."""
        return [Consumer(channel, [_QUEUE], callbacks=[self.work], prefetch_count=1)]

    def work(self, number, message):
        """A job of the scenario."""
        common.job(number)
        message.ack()


def restore():
    """What a consumer does to messages without acknowledgement, after its visibility timeout."""
    with Connection(common.URL, transport_options={"visibility_timeout": 2}) as connection:
        connection.default_channel.qos.restore_visible()


def main():
    """The scenario."""
    common.in_background(Worker(Connection(common.URL)).run)
    producer = Connection(common.URL).Producer()
    common.queue(
        lambda number: producer.publish(number, routing_key="work", retry=True, declare=[_QUEUE]),
        recover=restore,
        in_flight=1,
    )
