// rate-limiter-flexible: fixed windows, blocking of keys, penalty and reward, and a union, through ioredis; over a kill.
//
// Packages: rate-limiter-flexible@11.4.0 ioredis@6.0.0

const { RateLimiterRedis, RateLimiterUnion } = require("rate-limiter-flexible");
const { Redis } = require("ioredis");
const { check, crash, port, run } = require("./common");

run(async () => {
  const storeClient = new Redis(port, { maxRetriesPerRequest: null });
  storeClient.on("error", (error) => console.error(error.message));
  const hourly = new RateLimiterRedis({ storeClient, keyPrefix: "hour", points: 10, duration: 3600, blockDuration: 600 });
  const daily = new RateLimiterRedis({ storeClient, keyPrefix: "day", points: 100, duration: 86400 });
  const taken = (limiter, count) =>
    Promise.all(Array.from({ length: count }, () => limiter.consume("me").then(() => 1, () => 0))).then((all) =>
      all.reduce((a, b) => a + b),
    );
  check((await taken(hourly, 6)) === 6, "6 of 10");
  await daily.penalty("me", 3);
  await daily.reward("me", 1);
  await crash();
  check((await hourly.get("me")).remainingPoints === 4, "4 are left");
  check((await taken(hourly, 20)) === 4, "4 of 20");
  const state = await hourly.get("me");
  check(state.msBeforeNext > 500_000 && state.msBeforeNext <= 600_000, `blocked for ${state.msBeforeNext} ms`);
  check((await daily.get("me")).consumedPoints === 2, "penalty and reward");
  await daily.set("you", 7, 0);
  check((await new RateLimiterUnion(hourly, daily).consume("you")).day.consumedPoints === 8, "union");
  check(await hourly.delete("me"), "delete");
  return "of 10 points 6 were taken before the kill and 4 of 20 after it; then the key is blocked";
});
