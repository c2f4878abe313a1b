/** Worker and client against a real SEC. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  action,
  Client,
  Failed,
  graph,
  Hold,
  NotAllowedNow,
  SagaAlreadyExists,
  SagaNeedsOperator,
  SagaNotFound,
  SagaUnwound,
  type AnyAction,
  type Context,
} from "../src/index.js";
import { BOUND, Sec, serve } from "./sec.js";

let sec: Sec;
let client: Client;

before(async () => {
  sec = await Sec.start();
  client = new Client(sec.address);
});

after(async () => {
  client.close();
  await sec.stop();
});

class Latch {
  open: () => void = () => undefined;
  readonly wait = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

/** Serve some actions for as long as `use` takes. */
const serving = (actions: readonly AnyAction[], use: () => Promise<void>): Promise<void> => serve(sec, actions, use);

test("a saga runs, and its result is typed", async () => {
  const greet = action("greet", {}, (input: { name: string }) => `hello ${input.name}`);
  const shout = action("shout", {}, async (input: { text: string; times: number }) => ({
    text: input.text.toUpperCase() + "!".repeat(input.times),
  }));
  const builder = graph<{ name: string }>("greeting");
  const greeting = builder.add("greet", greet, { name: builder.params.at("name") });
  const shouted = builder.add("shout", shout, { text: greeting, times: 2 });
  const greetings = builder.build(shouted);
  await serving([greet, shout], async () => {
    const result: { text: string } = await client.run(greetings, { name: "Ada" }, { timeout: BOUND });
    assert.deepEqual(result, { text: "HELLO ADA!!" });
  });
});

test("a failed saga is unwound, with inputs and outputs for undo", async () => {
  const undone: unknown[] = [];
  const reserve = action("reserve", {}, (input: { seat: number }) => ({ booking: `b${String(input.seat)}` }), {
    undo: ({ input, output }, context) => {
      undone.push([input, output, context.undo.actionSucceeded, context.undo.sagaFailure?.type]);
    },
  });
  const pay = action("pay", {}, (_: { booking: string }): null => {
    throw new Failed("Declined", "no money", [{ cents: 5 }]);
  });
  const builder = graph("trip");
  const booking = builder.add("reserve", reserve, { seat: 7 });
  const trip = builder.build(builder.add("pay", pay, { booking: booking.at("booking") }));
  await serving([reserve, pay], async () => {
    await assert.rejects(client.run(trip, null, { timeout: BOUND }), (error: unknown) => {
      assert.ok(error instanceof SagaUnwound);
      assert.equal(error.code, "SAGA_UNWOUND");
      assert.equal(error.saga.failure?.type, "Declined");
      assert.equal(error.saga.failedNode, "pay");
      return true;
    });
    assert.deepEqual(undone, [[{ seat: 7 }, { booking: "b7" }, true, "Declined"]]);
  });
});

test("what user code throws by accident is tried again under the same key", async () => {
  const seen: Context[] = [];
  const flaky = action("flaky", {}, (_: object, context: Context) => {
    seen.push(context);
    if (context.attempt < 3) {
      throw new TypeError("not yet");
    }
    return context.attempt;
  });
  const builder = graph("flaky");
  const node = builder.add("flaky", flaky, {}, { retry: { initialBackoff: 1, maxBackoff: 1 } });
  await serving([flaky], async () => {
    assert.equal(await client.run(builder.build(node), null, { timeout: BOUND }), 3);
    assert.equal(new Set(seen.map((context) => context.idempotencyKey)).size, 1);
    assert.ok((seen[2]?.fencingToken ?? 0n) > (seen[0]?.fencingToken ?? 0n));
  });
});

test("a held node waits for a decision, and the watch tells all of it", async () => {
  const odd = action("odd", {}, (): string => {
    throw new Hold("Odd", "somebody must look");
  });
  const builder = graph("odd");
  const odds = builder.build(builder.add("odd", odd, {}));
  await serving([odd], async () => {
    const { sagaId } = await client.create(odds, null);
    const saga = await client.wait(sagaId, { timeout: BOUND });
    assert.equal(saga.needsOperator, true);
    await assert.rejects(client.run(odds, null, { sagaId, timeout: BOUND }), SagaNeedsOperator);
    const by = { actor: "ada", reason: "looked" };
    const tooEarly = client.resolve(sagaId, "odd", "mark_failed", { ...by, expectedLogLength: saga.logLength - 1 });
    await assert.rejects(tooEarly, (error) => error instanceof NotAllowedNow && error.reason === "SAGA_CHANGED");
    await client.resolve(sagaId, "odd", "mark_failed", { ...by, expectedLogLength: saga.logLength });
    const kinds: string[] = [];
    for await (const { kind, seq } of client.watch(sagaId)) {
      kinds.push(kind);
      assert.equal(seq, kinds.length);
    }
    assert.equal(kinds[0], "sagaCreated");
    assert.equal(kinds.at(-1), "sagaFinished");
    assert.equal((await client.get(sagaId)).state, "unwound");
  });
});

test("signals, delays and maps", async () => {
  const double = action("double", {}, ({ n, by }: { n: number; by: number }) => n * by, { undo: () => null });
  const builder = graph<number[]>("many");
  const go = builder.signal<{ go: boolean }>("go");
  const doubled = builder.map("doubled", builder.params, double, {
    item: "n",
    inputs: { by: 2 },
    after: [builder.delay("soon", 1), go],
  });
  const many = builder.build(doubled);
  await serving([double], async () => {
    const { sagaId } = await client.create(many, [1, 2, 3]);
    await client.signal(sagaId, "go", { go: true });
    const result: number[] = await client.run(many, [1, 2, 3], { sagaId, timeout: BOUND });
    assert.deepEqual(result, [2, 4, 6]);
  });
});

test("errors have classes and stable codes", async () => {
  await assert.rejects(client.get("no-such-saga"), (error: unknown) => {
    assert.ok(error instanceof SagaNotFound);
    assert.equal(error.reason, "SAGA_NOT_FOUND");
    return true;
  });
  const builder = graph<number>("waiting");
  builder.signal("never");
  const waiting = builder.build();
  const { sagaId } = await client.create(waiting, 1);
  assert.equal((await client.create(waiting, 1, { sagaId })).sagaId, sagaId);
  await assert.rejects(client.create(waiting, 2, { sagaId }), SagaAlreadyExists);
  const ids: string[] = [];
  for await (const saga of client.list({ graphName: "waiting", states: ["running"], pageSize: 1 })) {
    ids.push(saga.sagaId);
  }
  assert.deepEqual(ids, [sagaId]);
  const stop = AbortSignal.abort();
  await assert.rejects(client.wait(sagaId, { signal: stop }), { code: "CALL_STOPPED" });
  await client.unwind(sagaId, { actor: "ada", reason: "enough" });
  assert.equal((await client.wait(sagaId, { timeout: BOUND })).state, "unwound");
});

test("an action that blocks the event loop hears an order to stop, and keeps the session", async () => {
  const block = action("block", {}, (_: object, context: Context) => {
    const until = Date.now() + BOUND;
    while (context.cancelReason === undefined && Date.now() < until) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
    context.throwIfCancelled();
    return "never told";
  });
  const builder = graph("block");
  const node = builder.add("block", block, {}, { timeouts: { startToClose: 300 }, retry: { maxAttempts: 1 } });
  await serving([block], async () => {
    const { sagaId } = await client.create(builder.build(node), null);
    const saga = await client.wait(sagaId, { timeout: BOUND });
    assert.equal(saga.state, "unwound");
    assert.equal((await client.get(sagaId)).nodes[0]?.failure?.type, "sagaline.StartToCloseTimeout");
  });
});

test("worker and client outlive a SEC that is killed", async () => {
  const open: (() => void)[] = [];
  const gate = action("gate", {}, () => new Promise<string>((resolve) => open.push(() => resolve("through"))));
  const builder = graph("gate");
  const gates = builder.build(builder.add("gate", gate, {}));
  await serving([gate], async () => {
    const { sagaId } = await client.create(gates, null);
    while (open.length === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await sec.end("SIGKILL");
    open[0]?.();
    await sec.begin();
    assert.equal(await client.run(gates, null, { sagaId, timeout: BOUND }), "through");
    assert.equal(open.length, 1);
  });
});

test("many runs at once each hear of their own saga, and outlive a SEC that is killed", async () => {
  const started = new Set<number>();
  const [allStarted, opened] = [new Latch(), new Latch()];
  const wait = action("wait", {}, async ({ n }: { n: number }) => {
    if (started.add(n).size === 300) {
      allStarted.open();
    }
    await opened.wait;
    if (n % 100 === 7) {
      throw new Failed("Odd", String(n));
    }
    return n;
  });
  const builder = graph<number>("wait");
  const waits = builder.build(builder.add("wait", wait, { n: builder.params }));
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  await serve(
    sec,
    [wait],
    async () => {
      const told = Promise.allSettled(numbers.map((n) => client.run(waits, n, { timeout: BOUND })));
      await allStarted.wait;
      await sec.end("SIGKILL");
      await sec.begin();
      opened.open();
      for (const [n, each] of (await told).entries()) {
        if (n % 100 === 7) {
          assert.ok(each.status === "rejected" && each.reason instanceof SagaUnwound);
          assert.equal(each.reason.saga.failure?.message, String(n));
        } else {
          assert.deepEqual(each, { status: "fulfilled", value: n });
        }
      }
    },
    { slots: 300 },
  );
});
