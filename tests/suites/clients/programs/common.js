// What the programs share: where the server is, killing it, and the verdict. As common.py.
const { createInterface } = require("node:readline");

const PATIENCE_MS = 60_000;
const port = Number(process.env.PORT);
const lines = createInterface({ input: process.stdin });
const waiting = [];
lines.on("line", () => waiting.shift()());

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// kill -9 of the server; resolves when it accepts connections again, on the same port and directory.
function crash() {
  return new Promise((done) => {
    waiting.push(done);
    console.log("CRASH");
  });
}

// Runs the scenario; what it returns is what was found, and what it throws is the failure.
function run(scenario) {
  scenario().then(
    (found) => process.stdout.write(`WORKS ${found}\n`, () => process.exit(0)),
    (error) => {
      console.error(error);
      process.stderr.write(`${error.message}\n`, () => process.exit(1));
    },
  );
}

// Resolves to what `condition` gives as soon as it is true; it may throw before.
async function eventually(condition, what = "it") {
  let last;
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(50)) {
    try {
      const found = await condition();
      if (found) return found;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`${what} did not happen in ${PATIENCE_MS / 1000} s: ${last}`);
}

// The scenario of all queues, as `queue` of common.py. `enqueue(number)` resolves when a job is accepted; workers push
// each number they have done to `done`. `once`: the library promises that none runs twice.
async function queue(enqueue, done, { count = 100, once = false } = {}) {
  const accepted = [];
  const producing = (async () => {
    for (let number = 1; accepted.length < count; number++) {
      try {
        await enqueue(number);
        accepted.push(number);
      } catch (error) {
        console.error(`not accepted: ${error.message}`);
        await sleep(50);
      }
    }
  })();
  await eventually(() => done.length >= count / 5, "a fifth of the jobs");
  const before = done.length;
  await crash();
  await producing;
  await eventually(() => accepted.every((number) => done.includes(number)), "every accepted job");
  const twice = done.length - new Set(done).size;
  if (once && twice) throw new Error(`${twice} jobs ran twice`);
  return `${accepted.length} jobs accepted, ${before} done before the kill; 0 lost, ${twice} run twice`;
}

function check(condition, text) {
  if (!condition) throw new Error(text);
}

module.exports = { port, sleep, crash, run, eventually, queue, check };
