// BullMQ: a worker of concurrency 2, a producer, a delayed, a prioritized and a repeated job, a flow; the server is killed
// while jobs are enqueued and run.
//
// Packages: bullmq@6.7.0 ioredis@6.0.0

const { FlowProducer, Queue, QueueEvents, Worker } = require("bullmq");
const { check, port, queue, run, sleep } = require("./common");

run(async () => {
  const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
  const jobs = new Queue("jobs", { connection });
  const events = new QueueEvents("jobs", { connection });
  const done = [];
  const work = async (job) => {
    await sleep(30);
    if (job.name === "work") done.push(job.data.number);
    return job.name;
  };
  const options = { connection, concurrency: 2, stalledInterval: 3000, lockDuration: 5000 };
  const workers = ["jobs", "children"].map((name) => new Worker(name, work, options));
  for (const each of [jobs, events, ...workers]) each.on("error", (error) => console.error(error.message));

  const delayed = await jobs.add("delayed", {}, { delay: 300 });
  const prioritized = await jobs.add("prioritized", {}, { priority: 5 });
  check((await delayed.waitUntilFinished(events, 30000)) === "delayed", "delayed");
  check((await prioritized.waitUntilFinished(events, 30000)) === "prioritized", "prioritized");
  await jobs.upsertJobScheduler("often", { every: 200 }, { name: "repeated" });
  const child = { name: "child", queueName: "children" };
  const flow = await new FlowProducer({ connection }).add({ name: "parent", queueName: "jobs", children: [child, child] });
  check((await flow.job.waitUntilFinished(events, 30000)) === "parent", "flow");
  check(Object.values(await flow.job.getChildrenValues()).join() === "child,child", "values of children");
  check(await jobs.removeJobScheduler("often"), "scheduler");
  return queue((number) => jobs.add("work", { number }, { attempts: 3 }), done);
});
