// socket.io's Redis adapters: two servers that share rooms through the pub/sub adapter, the sharded one and the streams adapter;
// their clients hear each other again after a kill.
//
// Packages: @socket.io/redis-adapter@8.3.0 @socket.io/redis-streams-adapter@0.3.1 socket.io@4.8.4 socket.io-client@4.8.4 redis@6.3.1

const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const streams = require("@socket.io/redis-streams-adapter");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");
const { createClient } = require("redis");
const { crash, eventually, port, run } = require("./common");

async function connected() {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  client.on("error", (error) => console.error(error.message));
  return client.connect();
}

const kinds = {
  "pub/sub": async () => createAdapter(await connected(), await connected(), { key: "plain" }),
  sharded: async () => createShardedAdapter(await connected(), await connected(), { channelPrefix: "sharded" }),
  streams: async () => streams.createAdapter(await connected(), { streamName: "stream" }),
};

// A server with a client in the room; what the client has heard.
async function member(adapter) {
  const server = new Server(0, { adapter });
  server.on("connection", (socket) => socket.join("room"));
  const client = io(`http://127.0.0.1:${server.httpServer.address().port}`, { transports: ["websocket"] });
  const heard = [];
  client.on("said", (text) => heard.push(text));
  await new Promise((done) => client.on("connect", done));
  return { server, heard };
}

run(async () => {
  const pairs = [];
  for (const make of Object.values(kinds)) pairs.push([await member(await make()), await member(await make())]);
  const heardByBoth = (text) =>
    Promise.all(
      pairs.map((pair, i) =>
        eventually(() => {
          for (const { server } of pair) server.to("room").emit("said", text);
          return pair.every(({ heard }) => heard.filter((each) => each === text).length > heard.length / 4);
        }, `${text}, ${Object.keys(kinds)[i]}`),
      ),
    );
  await heardByBoth("before");
  for (const [one] of pairs) await eventually(async () => (await one.server.in("room").fetchSockets()).length === 2);
  await crash();
  for (const pair of pairs) for (const { heard } of pair) heard.length = 0;
  for (const [one, other] of pairs) {
    await eventually(() => {
      one.server.to("room").emit("said", "after");
      return other.heard.includes("after");
    }, "hearing the other server after the kill");
  }
  return "both servers' clients hear what either says, before the kill and after it, with each adapter";
});
