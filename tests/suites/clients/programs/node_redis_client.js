// node-redis: MULTI, a script, streams and pub/sub in RESP3; counters are incremented while the
// server is killed, and the client connects and subscribes anew by itself.
//
// Packages: redis@6.3.1

const { createClient, defineScript } = require("redis");
const { check, crash, eventually, port, run } = require("./common");

const add = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  parseCommand(parser, key, by) {
    parser.pushKey(key);
    parser.push(String(by));
  },
  transformReply: (reply) => reply,
});

run(async () => {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3, scripts: { add } });
  const subscriber = client.duplicate();
  for (const each of [client, subscriber]) each.on("error", (error) => console.error(error.message));
  await Promise.all([client.connect(), subscriber.connect()]);
  const heard = [];
  await subscriber.subscribe("news", (text) => heard.push(text));
  check((await client.add("n", 5)) === 5, "script");
  const replies = await client.multi().set("a", "1").incr("a").hSet("h", { x: 1 }).hGetAll("h").exec();
  check(JSON.stringify(replies) === '["OK",2,1,{"x":"1"}]', JSON.stringify(replies));
  check(JSON.stringify(await client.zAdd("z", { score: 1.5, value: "m" })) === "1", "ZADD");
  check((await client.zScore("z", "m")) === 1.5, "a double of RESP3");

  const accepted = Array.from({ length: 100 }, () => 0);
  const counts = accepted.map(async (_, i) => {
    for (let n = 0; n < 20; n++) {
      try {
        await client.incr(`count:${i}`);
        accepted[i]++;
      } catch (error) {
        console.error(error.message);
      }
    }
  });
  await crash();
  await Promise.all(counts);
  const seen = (await client.mGet(accepted.map((_, i) => `count:${i}`))).map(Number);
  check(seen.every((n, i) => n >= accepted[i] && n <= 20), `${accepted} accepted, ${seen} there`);
  check((await client.add("n", 1)) === 6, "the script after the kill");
  await eventually(async () => (await client.publish("news", "after")) && heard.includes("after"), "subscribing anew");
  const id = await client.xAdd("stream", "*", { field: "value" });
  check((await client.xRange("stream", "-", "+"))[0].id === id, "stream");
  let scanned = 0;
  for await (const keys of client.scanIterator({ MATCH: "count:*" })) scanned += keys.length;
  check(scanned === 100, `SCAN gave ${scanned}`);
  const total = accepted.reduce((a, b) => a + b);
  return `${total} of 2000 increments answered, none of them lost`;
});
