/** The barrier's machine, in every order of arrivals; its digest; and, where there is one, on a real PostgreSQL. */

import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";

import { PgBarrier } from "../src/barrier/index.js";
import { digestOf } from "../src/barrier/digest.js";
import { decide, type Arrival, type Row } from "../src/barrier/machine.js";
import { AttemptContext } from "../src/context.js";
import { Failed, InputMismatch, NotRecorded, StaleToken, Suppressed } from "../src/errors.js";
import { ActionOutcome, Invocation } from "../src/gen/sagaline/v1/worker_service.js";
import { jsonPayload } from "../src/payload.js";

const DIGEST = new Uint8Array([1]);

interface World {
  row: Row | undefined;
  effects: number;
  undone: number;
  isUndone: boolean;
}

/** As the barrier does: decide, run, record. */
function arrive(world: World, arrival: Arrival, fails: boolean): void {
  const decision = decide(world.row, arrival);
  let to = decision.to;
  if (decision.answer === "run" && arrival.isUndo) {
    world.undone += 1;
  } else if (decision.answer === "run" && !fails) {
    world.effects += 1;
  } else if (decision.answer === "run") {
    to = decision.onFailed;
  }
  if (arrival.isUndo && (decision.answer === "run" || decision.answer === "undone")) {
    world.isUndone = true;
  }
  if (to !== undefined || decision.raisesToken) {
    const state = to ?? world.row?.state ?? "DONE";
    world.row = { state, token: arrival.token, digest: DIGEST, output: null, failure: null };
  }
}

test("undo wins, and nothing happens twice, in every order of arrivals", () => {
  const kinds = [1n, 2n, 3n].flatMap((token) =>
    [false, true].flatMap((isUndo) => [false, true].map((fails) => ({ isUndo, token, fails }))),
  );
  let orders = 0;
  const walk = (world: World, depth: number): void => {
    orders += 1;
    assert.ok(world.effects <= 1 && world.undone <= world.effects);
    if (world.isUndone) {
      assert.equal(world.effects, world.undone, "after an undo nothing of the node stands");
    }
    if (depth === 0) {
      return;
    }
    for (const { isUndo, token, fails } of kinds) {
      const next = { ...world };
      arrive(next, { isUndo, token, digest: DIGEST, actionSucceeded: false }, fails);
      walk(next, depth - 1);
    }
  };
  walk({ row: undefined, effects: 0, undone: 0, isUndone: false }, 5);
  assert.ok(orders > 200_000);
});

test("the digest is that of the other languages", () => {
  const empty = new Map<string, string>();
  const data = Buffer.from([1, 2]);
  const metadata = new Map([
    ["message_type", "x.Y"],
    ["k", "v"],
  ]);
  const digest = digestOf(
    new Map([
      ["b", jsonPayload('"Ada"')],
      ["a", { value: { $case: "data", value: data }, encoding: "binary/protobuf", metadata }],
      ["é", { value: undefined, encoding: "", metadata: empty }],
    ]),
  );
  assert.equal(Buffer.from(digest).toString("hex"), "6d6a13e07f03988d8278e5b12436b75879e674e8e79b9b174252e28b2d3d26bd");
});

function context(kind: 1 | 2, attempt: number, token: bigint, seat = 1, actionSucceeded = false): AttemptContext {
  const invocation = Invocation.fromPartial({
    ref: { sagaId: `s${String(process.pid)}`, node: `n${String(node)}`, kind, attempt },
    fencingToken: token,
    inputs: new Map([["seat", jsonPayload(String(seat))]]),
  });
  if (kind === 2) {
    const actionOutcome = actionSucceeded ? ActionOutcome.SUCCEEDED : ActionOutcome.UNKNOWN;
    invocation.undo = {
      actionOutcome,
      actionIdempotencyKey: "",
      actionOutput: undefined,
      sagaFailure: undefined,
    };
  }
  return new AttemptContext(invocation, { poll: () => undefined, progress: () => undefined });
}

let node = 0;

test("on PostgreSQL", { skip: process.env["PGHOST"] === undefined && "no PGHOST" }, async (t) => {
  const pool = new pg.Pool({ max: 8 });
  const barrier = new PgBarrier(pool, { table: "ts_barrier" });
  await barrier.createTable();
  await pool.query("CREATE TABLE IF NOT EXISTS ts_effects (node text, what text)");
  const effects = async (): Promise<string[]> => {
    const { rows } = await pool.query<{ what: string }>("SELECT what FROM ts_effects WHERE node = $1", [
      `n${String(node)}`,
    ]);
    return rows.map(({ what }) => what).sort();
  };
  let failing = false;
  const run = barrier.action<{ seat: number }, { booking: number }>(async ({ seat }, ctx, db) => {
    await db.query("INSERT INTO ts_effects VALUES ($1, 'booked')", [ctx.node]);
    if (failing) {
      throw new Failed("SoldOut", "no seat", [{ seat }]);
    }
    return { booking: seat };
  });
  const undo = barrier.undo<{ seat: number }, { booking: number }>(async ({ output }, ctx, db) => {
    assert.deepEqual(output, { booking: 1 });
    await db.query("INSERT INTO ts_effects VALUES ($1, 'released')", [ctx.node]);
  });
  const input = { seat: 1 };
  const undoing = { input, output: undefined };

  await t.test("a repetition is answered with the recorded output; undo comes once, and wins", async () => {
    node += 1;
    assert.deepEqual(await run(input, context(1, 1, 1n)), { booking: 1 });
    assert.deepEqual(await run(input, context(1, 2, 2n)), { booking: 1 });
    await assert.rejects(async () => run(input, context(1, 1, 1n)), StaleToken);
    await assert.rejects(async () => run({ seat: 2 }, context(1, 3, 3n, 2)), InputMismatch);
    await undo(undoing, context(2, 1, 4n));
    await undo(undoing, context(2, 2, 5n));
    await assert.rejects(async () => run(input, context(1, 1, 1n)), Suppressed);
    assert.deepEqual(await effects(), ["booked", "released"]);
  });
  await t.test("an undo that comes first leaves a tombstone", async () => {
    node += 1;
    await assert.rejects(async () => undo(undoing, context(2, 1, 2n, 1, true)), NotRecorded);
    await undo(undoing, context(2, 1, 2n));
    await assert.rejects(async () => run(input, context(1, 1, 1n)), Suppressed);
    assert.deepEqual(await effects(), []);
  });
  await t.test("a failure is taken back, stays a failure, and needs no undo", async () => {
    node += 1;
    failing = true;
    const failed = { name: "Failed", type: "SoldOut", details: [{ seat: 1 }] };
    await assert.rejects(async () => run(input, context(1, 1, 1n)), failed);
    failing = false;
    await assert.rejects(async () => run(input, context(1, 2, 2n)), failed);
    await undo(undoing, context(2, 1, 3n));
    assert.deepEqual(await effects(), []);
  });
  await t.test("of many at once one has the effect", async () => {
    node += 1;
    const all = await Promise.all(Array.from({ length: 20 }, async () => run(input, context(1, 1, 1n))));
    assert.ok(all.every(({ booking }) => booking === 1));
    assert.deepEqual(await effects(), ["booked"]);
  });
  await t.test("rows go when their time has passed", async () => {
    const late = new PgBarrier(pool, { table: "ts_barrier", now: () => new Date(Date.now() + 31 * 86_400_000) });
    assert.ok((await late.expire()) > 0);
    await late.sagaEnded(`s${String(process.pid)}`);
  });
  await pool.query("DROP TABLE ts_barrier, ts_effects");
  await pool.end();
});
