// redlock: locks through ioredis; ten tasks enter by turns while the server is killed, never two at once; a lock held over the
// kill is still held after it, extended and released by its owner alone.
//
// Packages: redlock@4.2.0 ioredis@5.9.2

const Redlock = require("redlock");
const Redis = require("ioredis");
const { check, crash, eventually, port, run, sleep } = require("./common");

run(async () => {
  const redis = new Redis(port, { maxRetriesPerRequest: null });
  redis.on("error", (error) => console.error(error.message));
  const patient = new Redlock([redis], { retryCount: 2000, retryDelay: 20, retryJitter: 10 });
  const impatient = new Redlock([redis], { retryCount: 0 });
  for (const each of [patient, impatient]) each.on("clientError", (error) => console.error(error.message));
  let held = await patient.lock(["held"], 60000);
  let [inside, turns, both] = [0, 0, 0];
  const enter = async () => {
    for (;;) {
      try {
        const lock = await patient.lock(["a", "b"], 5000);
        if (++inside > 1) both++;
        await sleep(2);
        turns++;
        inside--;
        await lock.unlock();
      } catch (error) {
        console.error(error.message);
      }
    }
  };
  for (let i = 0; i < 10; i++) enter();
  await eventually(() => turns > 50, "turns");
  await crash();
  const before = turns;
  check(await impatient.lock(["held"], 1000).then(() => false, () => true), "somebody else has the lock");
  held = await held.extend(30000);
  await held.unlock();
  await (await impatient.lock(["held"], 1000)).unlock();
  await eventually(() => turns > before + 50, "turns after the kill");
  check(both === 0, `${both} times two were in`);
  return "more than 50 turns before the kill and 50 after it, never two at once; the lock held over it is held";
});
