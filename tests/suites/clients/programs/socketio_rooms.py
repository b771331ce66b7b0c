"""python-socketio: two servers that share rooms through AsyncRedisManager, an external emitter; it hears the others
again after a kill.

Packages: python-socketio==5.18.1 aiohttp==3.14.5 uvicorn==0.54.0 redis==7.1.0
"""

import asyncio

import common
import socketio
import uvicorn


async def serve():
    """One server; returns its port."""
    server = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(common.URL))

    @server.event
    async def join(sid, room):
        await server.enter_room(sid, room)

    @server.event
    async def say(_, text):
        await server.emit("said", text, room="all")

    config = uvicorn.Config(socketio.ASGIApp(server), port=0, log_level="warning", ws="none")
    web = uvicorn.Server(config)
    running = asyncio.create_task(web.serve())
    while not web.started:
        await asyncio.sleep(0.05)
    return web.servers[0].sockets[0].getsockname()[1], running


async def rooms():
    """A client on each server."""
    heard = ([], [])
    clients = []
    running = []
    for each in heard:
        port, task = await serve()
        running.append(task)
        client = socketio.AsyncClient()
        client.on("said", each.append)
        await client.connect(f"http://127.0.0.1:{port}", transports=["polling"])
        await client.emit("join", "all")
        clients.append(client)
    emitter = socketio.RedisManager(common.URL, write_only=True)

    async def say_until_heard(text):
        for _ in range(200):
            await clients[0].emit("say", text)
            await asyncio.to_thread(emitter.emit, "said", f"{text} from outside", room="all")
            await asyncio.sleep(0.1)
            if all(text in each and f"{text} from outside" in each for each in heard):
                return
        raise AssertionError(f"{text} was not heard: {heard}")

    await say_until_heard("before")
    await asyncio.to_thread(common.crash)
    await say_until_heard("after")


def main():
    """Both servers in this process, as far from each other as in two."""
    asyncio.run(asyncio.wait_for(rooms(), 100))
    common.works("both servers' clients hear what either, and an emitter outside, says; before the kill and after it")
