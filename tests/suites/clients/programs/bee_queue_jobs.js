// bee-queue: a worker of concurrency 2, a producer, a delayed job; the server is killed while jobs are enqueued and run. Since
// the library loads its scripts only at its start, the program begins anew when one is missing.
//
// Packages: bee-queue@2.0.0

const Queue = require("bee-queue");
const { check, port, queue, run, sleep } = require("./common");

run(async () => {
  const settings = { redis: { host: "127.0.0.1", port }, stallInterval: 2000, activateDelayedJobs: true, autoConnect: true };
  const done = [];
  const begin = async () => {
    const [jobs, working] = [new Queue("jobs", { ...settings, isWorker: false }), new Queue("jobs", settings)];
    for (const each of [jobs, working]) each.on("error", (error) => console.error(error.message));
    working.process(2, async (job) => {
      await sleep(30);
      if (job.data.number) done.push(job.data.number);
      return "result";
    });
    await jobs.ready();
    working.checkStalledJobs(1000); // jobs whose worker was not told that it got them
    return jobs;
  };
  let jobs = await begin();
  const delayed = jobs.createJob({}).delayUntil(Date.now() + 300);
  const finished = new Promise((resolve) => delayed.on("succeeded", resolve));
  await delayed.save();
  check((await finished) === "result", "a delayed job's result");
  const enqueue = async (number) => {
    try {
      await jobs.createJob({ number }).retries(3).save();
    } catch (error) {
      if (error.message.startsWith("NOSCRIPT")) jobs = await begin();
      throw error;
    }
  };
  return queue(enqueue, done);
});
