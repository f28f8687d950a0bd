/*
 * pg-boss as its pages "Workers" and "Queues" say: a queue with a table of its
 * own, workers that fetch in batches and go on without a pause while a batch
 * comes back full.
 */
import { PgBoss } from "pg-boss";
import { batch, inBatches, payloads, serve, workers } from "./steps.mjs";

const boss = new PgBoss({
  host: process.env.PGHOST, port: Number(process.env.PGPORT),
  user: process.env.PGUSER, database: process.env.PGDATABASE,
  max: workers + 2, schedule: false, supervise: false,
});

boss.on("error", (error) => { throw error; });

await serve({
  async prepare() {
    await boss.start();
    await boss.createQueue("mail", { partition: true });
  },
  enqueue: (count) =>
    inBatches(count, (n) =>
      boss.insert("mail", payloads(n).map((data) => ({ data })))),
  async work(count) {
    let left = count;
    let finished;
    const all = new Promise((resolve) => { finished = resolve; });

    await boss.work("mail", {
      batchSize: batch, localConcurrency: workers, burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    }, async (jobs) => {
      left -= jobs.length;
      if (left === 0) finished();
    });
    await all;
    await boss.offWork("mail", { wait: true });
  },
  end: () => boss.stop(),
});
