// connect-redis: Express's sessions: three browsers count their visits; over a kill.
//
// Packages: connect-redis@9.0.0 express@5.3.0 express-session@1.19.0 redis@6.3.1

const { RedisStore } = require("connect-redis");
const express = require("express");
const session = require("express-session");
const { createClient } = require("redis");
const { check, crash, eventually, port, run } = require("./common");

run(async () => {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  client.on("error", (error) => console.error(error.message));
  await client.connect();
  const store = new RedisStore({ client, ttl: 600 });
  const app = express();
  app.use(session({ store, secret: "not one", resave: false, saveUninitialized: false }));
  app.get("/", (request, response) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    request.session.save(() => response.send(String(request.session.visits)));
  });
  const server = await new Promise((done) => {
    const listening = app.listen(0, () => done(listening));
  });
  const browsers = [{}, {}, {}];
  const visit = async (browser) => {
    const headers = browser.cookie ? { cookie: browser.cookie } : {};
    const response = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers });
    browser.cookie = response.headers.get("set-cookie")?.split(";")[0] ?? browser.cookie;
    return Number(await response.text());
  };
  for (let n = 1; n <= 5; n++) for (const each of browsers) check((await visit(each)) === n, `visit ${n}`);
  await crash();
  await eventually(async () => (await client.ping()) === "PONG");
  for (const each of browsers) check((await visit(each)) === 6, "the visit after the kill");
  check((await store.length()) === 3, "three sessions");
  const ids = await store.ids();
  await store.destroy(ids[0]);
  check((await store.all()).length === 2, "two are left");
  return "three sessions of five visits go on with the sixth";
});
