// keyv: @keyv/redis with namespaces, TTLs, many keys and an iterator; over a kill.
//
// Packages: keyv@5.6.0 @keyv/redis@5.1.6

const { Keyv } = require("keyv");
const { default: KeyvRedis } = require("@keyv/redis");
const { check, crash, eventually, port, run } = require("./common");

run(async () => {
  const open = (namespace) => {
    const keyv = new Keyv({ store: new KeyvRedis(`redis://127.0.0.1:${port}`), namespace });
    keyv.on("error", (error) => console.error(error.message));
    return keyv;
  };
  const [one, other] = [open("one"), open("other")];
  for (let n = 0; n < 50; n++) await one.set(`key${n}`, { n }, n % 2 ? 600_000 : undefined);
  await other.set("key1", "another's");
  await crash();
  await eventually(async () => (await one.get("key1"))?.n === 1);
  const keys = Array.from({ length: 50 }, (_, n) => `key${n}`);
  check((await one.get(keys)).every((value, n) => value.n === n), "50 values");
  check((await other.get("key1")) === "another's", "the other namespace");
  let seen = 0;
  for await (const [key, value] of one.iterator()) seen += key === `key${value.n}`;
  check(seen === 50, `the iterator gave ${seen}`);
  check((await one.delete("key1")) && !(await one.has("key1")) && (await one.has("key2")), "delete");
  await one.clear();
  check((await one.get("key2")) === undefined && (await other.get("key1")) === "another's", "clear");
  return "50 values in one namespace and one in another are as they were";
});
