/* Workers in SQL: claim and complete in batches, on a connection each. */
import pg from "pg";
import { batch, inBatches, payloads, serve, workers } from "./steps.mjs";

const ENQUEUE = {
  name: "enqueue",
  text: "SELECT cardinality(payorder.enqueue_batch('mail', $1))",
};
const CLAIM = {
  name: "claim",
  text: "SELECT task, token, payload FROM payorder.claim(max_tasks => $1)",
};
const COMPLETE = {
  name: "complete",
  text: "SELECT payorder.complete_batch($1, $2) AS lost",
};
const connections = Array.from({ length: workers }, () => new pg.Client());

async function handle() {}

await serve({
  async prepare() {
    await Promise.all(connections.map((c) => c.connect()));
    await connections[0].query("SELECT payorder.define_task_kind('mail')");
  },
  enqueue: (count) =>
    inBatches(count, (size, worker) =>
      connections[worker].query({ ...ENQUEUE, values: [payloads(size)] })),
  async work() {
    await Promise.all(connections.map(async (connection) => {
      for (;;) {
        const { rows } =
          await connection.query({ ...CLAIM, values: [batch] });

        if (rows.length === 0) return;
        await Promise.all(rows.map((row) => handle(row.payload)));
        const { rows: [{ lost }] } = await connection.query({
          ...COMPLETE,
          values: [rows.map((row) => row.task), rows.map((row) => row.token)],
        });

        if (lost.length > 0) throw new Error(`lost ${lost}`);
      }
    }));
  },
  end: () => Promise.all(connections.map((c) => c.end())),
});
