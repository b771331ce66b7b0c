"""channels_redis: Django Channels' layer and its pub/sub layer; messages to a channel and a group, sent before a
kill, are received after it.

Packages: channels-redis==4.3.0 channels==4.3.1
"""

import asyncio

import common
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer


async def both_layers():
    """Both layers."""
    layer = RedisChannelLayer(hosts=[common.URL])
    mine, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("all", mine)
    await layer.group_add("all", other)
    await layer.send("jobs", {"type": "x", "n": 1})
    await layer.group_send("all", {"type": "x", "n": 2})
    assert (await layer.receive(mine))["n"] == 2
    await asyncio.to_thread(common.crash)
    assert (await layer.receive("jobs"))["n"] == 1
    assert (await layer.receive(other))["n"] == 2
    await layer.group_send("all", {"type": "x", "n": 3})
    assert [(await layer.receive(each))["n"] for each in (mine, other)] == [3, 3]

    pubsub = RedisPubSubChannelLayer(hosts=[common.URL])
    channel = await pubsub.new_channel()
    await pubsub.group_add("all", channel)
    await pubsub.group_send("all", {"n": 4})
    assert (await asyncio.wait_for(pubsub.receive(channel), 30))["n"] == 4
    await asyncio.to_thread(common.crash)
    waiting = asyncio.create_task(pubsub.receive(channel))
    while not waiting.done():
        try:
            await pubsub.group_send("all", {"n": 5})
        except Exception as error:
            print(error)
        await asyncio.sleep(0.1)
    assert waiting.result()["n"] == 5


def main():
    """The scenario."""
    asyncio.run(both_layers())
    common.works("2 messages sent before the kill received after it; the pub/sub layer subscribes anew by itself")
