/*
 * graphile-worker as its page "Performance" says: a local queue, and
 * completions in batches.  LOCAL_QUEUE and CONCURRENT_JOBS by the environment.
 */
import pg from "pg";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { inBatches, payloads, serve, workers } from "./steps.mjs";

const size = Number(process.env.LOCAL_QUEUE);
const concurrentJobs = Number(process.env.CONCURRENT_JOBS);
const pgPool = new pg.Pool({ max: Math.max(workers, concurrentJobs) + 2 });
const logger = new Logger(() => () => {});
const preset = {
  worker: {
    pgPool, logger, concurrentJobs, noHandleSignals: true,
    localQueue: { size, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
const utils = await makeWorkerUtils({ preset });

await serve({
  prepare: () => utils.migrate(),
  enqueue: (count) =>
    inBatches(count, (n) =>
      utils.addJobs(payloads(n).map((payload) =>
        ({ identifier: "mail", payload })))),
  async work(count) {
    let left = count;
    let finished;
    const all = new Promise((resolve) => { finished = resolve; });
    const runner = await run({
      preset,
      taskList: { mail: async () => { if (--left === 0) finished(); } },
    });

    await all;
    await runner.stop();    // waits for the completions too
  },
  async end() {
    await utils.release();
    await pgPool.end();
  },
});
