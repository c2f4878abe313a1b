/** What a client does to sagas that run, and what operators use, against a real SEC. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { action, Client, graph, NotAllowedNow, NotFound, RpcError, SagaNotFound, type Graph } from "../src/index.js";
import { BOUND, Sec, serve } from "./sec.js";

const ADA = { actor: "ada", reason: "a test" };

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

const echo = action("echo", {}, ({ value }: { value: string }) => `${value}!`);

function echoes(name: string, ...nodes: string[]): Graph<string, string> {
  const g = graph<string>(name);
  return g.build(nodes.reduce((last, node) => g.add(node, echo, { value: last }), g.params));
}

function waits(name: string): Graph<string, string> {
  const g = graph<string>(name);
  return g.build(g.signal<string>("never"));
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of source) {
    found.push(each);
  }
  return found;
}

test("pause, steps and breakpoints; the log and the record", async () => {
  const steps = echoes("steps", "one", "two", "three");
  await serve(sec, [echo], async () => {
    const { sagaId } = await client.create(steps, "x", { startPaused: true, scopes: ["rack/7"] });
    await client.setBreakpoints(sagaId, ["three", { node: "two", side: "action" }], ADA);
    assert.equal((await client.resume(sagaId, ADA)).paused, false);
    await client.step(sagaId, 2, ADA);
    assert.equal(
      await client.run(steps, "x", { sagaId, startPaused: true, scopes: ["rack/7"], timeout: BOUND }),
      "x!!!",
    );
    await assert.rejects(client.step(sagaId, 1, ADA), NotAllowedNow);
    const entries = await all(client.log(sagaId));
    assert.deepEqual(
      entries.map(({ seq }) => Number(seq)),
      entries.map((_, index) => index + 1),
    );
    assert.equal((await client.record(sagaId)).spec?.graph?.name, "steps");
    assert.deepEqual((await client.get(sagaId)).scopes, ["rack/7"]);
  });
});

test("a watch of a saga that has ended ends, wherever it begins", async () => {
  const { sagaId } = await client.create(waits("ended"), "x");
  await client.unwind(sagaId, ADA);
  const { logLength } = await client.wait(sagaId, { timeout: BOUND });
  assert.deepEqual(await all(client.watch(sagaId, { fromSeq: logLength + 1 })), []);
});

test("counts, filters and batches", async () => {
  const labels = { of: "batch" };
  const from = new Date(Date.now() - 3_600_000);
  const sagas = await Promise.all([1, 2, 3].map(async (n) => client.create(waits("batch"), String(n), { labels })));
  const [first] = sagas;
  assert.ok(first);
  const [wait] = (await client.explain(first.sagaId)).waits;
  assert.equal(wait?.reason, "event");
  assert.equal(wait.side, "action");
  assert.deepEqual([...(await client.count({ labels, createdFrom: from }))], [["running", 3]]);
  assert.deepEqual(await all(client.list({ labels, createdBefore: from })), []);
  assert.deepEqual(await all(client.list({ labels, idleFor: 3_600_000 })), []);
  assert.deepEqual(await all(client.list({ labels, scope: "rack/9" })), []);
  assert.deepEqual(await all(client.list({ labels, failedNode: "never" })), []);
  const pages = await all(client.batchControl("unwind", { labels }, ADA));
  assert.deepEqual(pages.flatMap(({ sagaIds }) => sagaIds).sort(), sagas.map(({ sagaId }) => sagaId).sort());
  for (const { sagaId } of sagas) {
    assert.equal((await client.wait(sagaId, { timeout: BOUND })).state, "unwound");
  }
});

test("limits are set, listed and lifted", async () => {
  assert.deepEqual(await client.setScopeLimit("rack/ts", { maxRunning: 2 }), { scope: "rack/ts", maxRunning: 2 });
  await client.setActionLimit("limited", { startsPerSecond: 0.5 });
  const limits = await client.limits();
  assert.equal(limits.length, 2);
  assert.deepEqual(
    limits.find(({ action }) => action !== undefined),
    { action: "limited", startsPerSecond: 0.5 },
  );
  await client.setScopeLimit("rack/ts", {});
  await client.setActionLimit("limited", {});
  assert.deepEqual(await client.limits(), []);
});

test("breakpoints on actions are set, listed and cleared", async () => {
  const { time, ...set } = await client.setActionBreakpoint("broken", { ...ADA, side: "undo" });
  assert.deepEqual(set, { action: "broken", side: "undo", ...ADA });
  assert.ok(time instanceof Date);
  assert.deepEqual(
    (await client.actionBreakpoints()).map(({ action }) => action),
    ["broken"],
  );
  await client.clearActionBreakpoint("broken");
  assert.deepEqual(await client.actionBreakpoints(), []);
});

test("SECs and workers, quarantine, and what a single SEC refuses", async () => {
  const [only, ...others] = await client.secs();
  assert.equal(others.length, 0);
  assert.equal(only?.address, sec.address);
  const aside = echoes("aside", "one");
  await serve(sec, [echo], async () => {
    const [worker] = (await client.workers()).filter(({ connected }) => connected);
    assert.deepEqual(worker?.actions, [{ action: "echo", versions: ["1"] }]);
    const { sagaId } = await client.create(aside, "x", { startPaused: true });
    assert.equal((await client.quarantine(sagaId, ADA)).state, "quarantined");
    assert.equal((await client.release(sagaId, ADA)).state, "running");
    await client.resume(sagaId, ADA);
    assert.equal((await client.wait(sagaId, { timeout: BOUND })).state, "succeeded");
    await assert.rejects(client.injectFault(sagaId, "one", "action_error"), RpcError);
  });
  await assert.rejects(client.handOff("no-such-saga"), SagaNotFound);
  await assert.rejects(client.drain({ sec: "no-such-sec" }), NotFound);
});

test("what must not be done twice goes on to an address that answers", async () => {
  const lame = new Client(["127.0.0.1:1", sec.address]);
  try {
    const { sagaId } = await lame.create(waits("lame"), "x", { startPaused: true });
    assert.equal((await lame.step(sagaId, 1, { ...ADA, timeout: BOUND })).paused, true);
    await lame.unwind(sagaId, ADA);
  } finally {
    lame.close();
  }
});
