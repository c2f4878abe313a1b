/** The flight service of the polyglot trip: workers/README.md says what it does. */

import { setTimeout as sleep } from "node:timers/promises";

import pg from "pg";
import { action, Failed, Worker } from "sagaline";
import { PgBarrier } from "sagaline/barrier";

const NODE = "flight";
const SLOW_MS = 300;

interface Order {
  readonly item: string;
  readonly trouble: string;
}

const pool = new pg.Pool(); // PGHOST, PGPORT, PGUSER, PGDATABASE
pool.on("error", (error) => {
  console.error(`an idle connection broke: ${error.message}`);
});
const barrier = new PgBarrier(pool);

await barrier.createTable();
await pool.query("CREATE TABLE IF NOT EXISTS bookings (saga text PRIMARY KEY, item text NOT NULL)");
await pool.query(
  "CREATE TABLE IF NOT EXISTS effects (number bigserial PRIMARY KEY, saga text NOT NULL, what text NOT NULL)",
);

const book = barrier.action<Order, string>(async ({ item }, { sagaId }, db) => {
  await db.query("INSERT INTO bookings VALUES ($1, $2)", [sagaId, item]);
  await db.query("INSERT INTO effects (saga, what) VALUES ($1, 'booked')", [sagaId]);
  return `${item}@${NODE}`;
});

const release = barrier.undo<Order, string>(async (_, { sagaId }, db) => {
  const { rowCount } = await db.query("DELETE FROM bookings WHERE saga = $1", [sagaId]);
  if (rowCount === 1) {
    await db.query("INSERT INTO effects (saga, what) VALUES ($1, 'released')", [sagaId]);
  }
});

const flight = action<Order, string>(
  "polyglot.flight",
  { barrier: "tombstone" },
  async (order, context) => {
    if (order.trouble === NODE) {
      throw new Failed("SoldOut", `no ${order.item} is left`);
    }
    if (order.trouble === "slow") {
      await sleep(SLOW_MS, undefined, { signal: context.signal });
    }
    return book(order, context);
  },
  { undo: release },
);

const worker = new Worker(process.env["SAGALINE_ADDRESS"] ?? "127.0.0.1:7070", {
  actions: [flight],
  slots: Number(process.env["SAGALINE_SLOTS"] ?? "20"),
});
try {
  await worker.run();
} finally {
  await pool.end();
}
