// ioredis: pipelines, MULTI, a script, streams and pub/sub; 200 counters are incremented while the server is killed, and
// the client connects, subscribes and loads its script anew by itself.
//
// Packages: ioredis@6.0.0

const { Redis } = require("ioredis");
const { check, crash, eventually, port, run } = require("./common");

run(async () => {
  const redis = new Redis(port, { maxRetriesPerRequest: null });
  const subscriber = new Redis(port);
  for (const each of [redis, subscriber]) each.on("error", (error) => console.error(error.message));
  const heard = [];
  await subscriber.subscribe("news");
  subscriber.on("message", (_, text) => heard.push(text));
  redis.defineCommand("addTwice", { numberOfKeys: 1, lua: "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[1])" });
  check((await redis.addTwice("twice")) === 2, "script");
  const replies = await redis.pipeline().set("a", 1).incr("a").hset("h", { x: 1, y: 2 }).hgetall("h").exec();
  check(JSON.stringify(replies.map((each) => each[1])) === '["OK",2,2,{"x":"1","y":"2"}]', JSON.stringify(replies));
  check((await redis.multi().zadd("z", 1, "m").zrange("z", 0, -1, "WITHSCORES").exec())[1][1].join() === "m,1", "MULTI");
  await redis.publish("news", "before");
  await eventually(() => heard.includes("before"));

  // A request without an answer is sent again by the client: a counter may be one higher, and never lower.
  const counts = Array.from({ length: 200 }, async (_, i) => {
    for (let n = 0; n < 20; n++) await redis.incr(`count:${i}`);
  });
  await crash();
  await Promise.all(counts);
  const seen = (await redis.mget(Array.from({ length: 200 }, (_, i) => `count:${i}`))).map(Number);
  check(seen.every((n) => n === 20 || n === 21), seen.join());
  await redis.script("FLUSH");
  check((await redis.addTwice("twice")) === 4, "the script after the kill");
  await eventually(async () => (await redis.publish("news", "after")) && heard.includes("after"), "subscribing anew");
  await redis.xadd("stream", "*", "field", "value");
  check((await redis.xread("COUNT", 1, "STREAMS", "stream", 0))[0][1][0][1].join() === "field,value", "stream");
  let scanned = 0;
  for await (const keys of redis.scanStream({ match: "count:*", count: 30 })) scanned += keys.length;
  check(scanned === 200, `SCAN gave ${scanned}`);
  return `4000 increments answered, none lost; ${seen.filter((n) => n === 21).length} done twice by the client's own retry`;
});
