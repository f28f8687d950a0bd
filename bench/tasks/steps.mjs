/*
 * What the three clients have in common: they connect and warm up, say
 * "ready", and do each step that measure.py asks for by a line on standard
 * input, "enqueue" or "work", and say "done" after each.
 */
import { createInterface } from "node:readline";

export const [tasks, batch, workers] = process.argv.slice(2).map(Number);

/* Calls work(number of tasks) in batches, by several at once. */
export async function inBatches(count, work) {
  let left = count;

  async function one(worker) {
    while (left > 0) {
      const size = Math.min(batch, left);

      left -= size;
      await work(size, worker);
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, i) => one(i)));
}

export const payloads = (size) =>
  Array.from({ length: size }, (_, n) => ({ n, to: "somebody@example.org" }));

/* steps: prepare(), enqueue(count), work(count), end() */
export async function serve(steps) {
  await steps.prepare();
  await steps.enqueue(workers * batch * 10);
  await steps.work(workers * batch * 10);
  console.log("ready");
  for await (const step of createInterface({ input: process.stdin })) {
    await steps[step](tasks);
    console.log("done");
  }
  await steps.end();
}
