/** Concurrent runs of one client go together over one stream, and each hears what a call of its own would tell. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { credentials, status } from "@grpc/grpc-js";

import { Batcher, FRAME_BYTES_MAX, FRAME_SAGAS_MAX, STREAM_GRAPHS_MAX } from "../src/client/batching.js";
import { Calls } from "../src/client/calls.js";
import { RunBook } from "../src/client/running.js";
import { ALONE_MAX, SharedRuns } from "../src/client/sharing.js";
import { Graph as GraphMessage, SagaSpec, SagaState } from "../src/gen/sagaline/v1/saga.js";
import { BatchError, CreateResult, RunSagasResponse, SagaEnd } from "../src/gen/sagaline/v1/saga_service.js";
import { jsonPayload } from "../src/payload.js";
import {
  CallStopped,
  Client,
  declareAction,
  graph,
  InvalidRequest,
  SagaNeedsOperator,
  SagaNotFound,
  SagaUnfinished,
  SagaUnwound,
  Unavailable,
} from "../src/index.js";
import { FakeSagas, type Break } from "./fake-sagas.js";
import { BOUND } from "./sec.js";

const MANY = 200;
const builder = graph<number>("echo");
const ECHO = builder.build(
  builder.add("echo", declareAction<{ value: number }, number>("echo"), { value: builder.params }),
);

async function using(use: (sagas: FakeSagas, client: Client) => Promise<void>, addresses = 1): Promise<void> {
  const sagas = new FakeSagas();
  const client = new Client(await Promise.all(Array.from({ length: addresses }, () => sagas.serve())));
  try {
    await use(sagas, client);
  } finally {
    client.close();
    sagas.stop();
  }
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

type Options = Parameters<Client["run"]>[2];

/** So many runs at once, whose sagas are called by their number. */
function runs(client: Client, count: number, options: Options = {}, prefix = "s"): Promise<number>[] {
  return numbers(count).map((n) => {
    const run = client.run(ECHO, n, { sagaId: `${prefix}${String(n)}`, timeout: BOUND, ...options });
    run.catch(() => undefined); // a test looks at it later
    return run;
  });
}

/** What those runs throw that do. */
async function errors(asked: Promise<unknown>[]): Promise<unknown[]> {
  const told = await Promise.allSettled(asked);
  return told.map((each): unknown => (each.status === "rejected" ? each.reason : undefined));
}

test("lone runs have a call each", () =>
  using(async (sagas, client) => {
    for (const n of numbers(5)) {
      assert.equal(await client.run(ECHO, n), n);
    }
    assert.equal(sagas.runCalls, 5);
    assert.equal(sagas.conversations.length, 0);
  }));

test("many runs share one stream, which sends their graph once and is given up when nobody needs it", () =>
  using(async (sagas, client) => {
    for (const round of [1, 2]) {
      assert.deepEqual(await Promise.all(runs(client, MANY, {}, `r${String(round)}-`)), numbers(MANY));
      assert.equal(sagas.runCalls, round * ALONE_MAX);
      assert.equal(sagas.conversations.length, round);
      const frames = sagas.conversations[round - 1]?.requests ?? [];
      assert.equal(
        frames.reduce((sum, { graphs }) => sum + graphs.size, 0),
        1,
      );
      assert.ok(frames.every(({ sagas }) => sagas.every((spec) => spec.graph === undefined)));
      assert.ok(frames.length < MANY / 2, `${String(frames.length)} frames`);
      await sagas.until(() => sagas.streamsGone === round);
    }
    assert.equal(sagas.asked.length, 2 * MANY);
  }));

const BREAKS: Break[][] = [
  [0, 1, 2].map((afterFrames) => ({ afterFrames, code: status.UNAVAILABLE })),
  [
    { afterFrames: 3, code: status.OK },
    { afterFrames: 2, code: status.INTERNAL },
  ],
];
for (const breaks of BREAKS) {
  test(`streams that break cost no run its end: ${breaks.map(({ code }) => status[code]).join()}`, () =>
    using(async (sagas, client) => {
      sagas.breaks = [...breaks];
      assert.deepEqual(await Promise.all(runs(client, MANY)), numbers(MANY));
      assert.equal(sagas.created.size, MANY);
      assert.equal(sagas.conversations.length, breaks.length + 1);
    }));
}

test("on another SEC durable sagas are followed, and what was not heard of is sent again", () =>
  using(async (sagas, client) => {
    sagas.isHolding = true;
    const first = runs(client, 20);
    await sagas.until(() => sagas.created.size === 20);
    const [old] = sagas.conversations;
    assert.ok(old);
    sagas.leave(old.address);
    await sagas.until(() => sagas.conversations.length > 1);
    const late = runs(client, 3, {}, "late");
    await sagas.until(() => sagas.created.size === 23);
    sagas.release();
    assert.deepEqual(await Promise.all([...first, ...late]), [...numbers(20), ...numbers(3)]);
    const next = sagas.conversations.at(-1);
    assert.notEqual(next?.address, old.address);
    const followed = next?.requests.flatMap(({ followIds }) => followIds) ?? [];
    const sent = next?.requests.flatMap((frame) => frame.sagas.map(({ sagaId }) => sagaId)) ?? [];
    const shared = old.requests.flatMap((frame) => frame.sagas.map(({ sagaId }) => sagaId));
    assert.equal(shared.length, 20 - ALONE_MAX);
    assert.deepEqual([...followed, ...sent].sort(), [...shared, "late0", "late1", "late2"].sort());
    assert.ok(followed.length > 0);
  }, 2));

for (const code of [status.PERMISSION_DENIED, status.UNIMPLEMENTED]) {
  test(`where streams are refused every run has a call of its own: ${status[code]}`, () =>
    using(async (sagas, client) => {
      sagas.breaks = numbers(MANY).map(() => ({ afterFrames: 0, code }));
      assert.deepEqual(await Promise.all(runs(client, 20)), numbers(20));
      assert.equal(sagas.runCalls, 20);
    }));
}

test("each run of many hears what became of its own saga, with the whole saga in the error", () =>
  using(async (sagas, client) => {
    const labels = { of: "many" };
    const failure = { type: "NoRoom", message: "full", details: [], stack: "", cause: undefined };
    sagas.ends.set("s15", { state: SagaState.UNWOUND, failure: failure as never, output: undefined });
    sagas.ends.set("s16", { state: SagaState.STUCK, needsOperator: true, output: undefined });
    const told = await errors(runs(client, 20, { labels }));
    assert.deepEqual(
      told.flatMap((error, index) => (error === undefined ? [] : [index])),
      [15, 16],
    );
    const [unwound, stuck] = [told[15], told[16]];
    assert.ok(unwound instanceof SagaUnwound && stuck instanceof SagaNeedsOperator);
    assert.equal(unwound.saga.failure?.type, "NoRoom");
    assert.equal(stuck.saga.state, "stuck");
    assert.deepEqual([...stuck.saga.labels], Object.entries(labels));
    assert.equal(sagas.waitCalls, 2);
  }));

test("a saga that the stream refuses is refused with the words of a call of its own", () =>
  using(async (sagas, client) => {
    sagas.refusals.set("bad0", BatchError.fromPartial({ code: status.INVALID_ARGUMENT, message: "bad, says a batch" }));
    const [error] = await errors([...runs(client, 20), ...runs(client, 1, { labels: { bad: "" } }, "bad")].reverse());
    assert.ok(error instanceof InvalidRequest);
    assert.match(error.message, /^bad, says RunSaga/);
    assert.equal(sagas.conversations.length, 1);
  }));

test("a SEC that can't serve a saga now costs no run its end", () =>
  using(async (sagas, client) => {
    sagas.refusals.set("s15", BatchError.fromPartial({ code: status.UNAVAILABLE, message: "it stops" }));
    assert.deepEqual(await Promise.all(runs(client, 20)), numbers(20));
    assert.equal(sagas.conversations.length, 2);
  }));

test("a saga that is gone when it is followed is not created anew", () =>
  using(async (sagas, client) => {
    sagas.isHolding = true;
    const asked = runs(client, 20);
    await sagas.until(() => sagas.created.size === 20);
    const reason = "SAGA_NOT_FOUND";
    sagas.refusals.set("s15", BatchError.fromPartial({ code: status.NOT_FOUND, reason, message: "gone" }));
    sagas.breakStreams();
    await sagas.until(() => !sagas.refusals.has("s15") || sagas.asked.length > 20);
    sagas.release();
    const told = await errors(asked);
    assert.ok(told[15] instanceof SagaNotFound);
    assert.equal(told.filter((error) => error !== undefined).length, 1);
    assert.equal(sagas.asked.filter((sagaId) => sagaId === "s15").length, 1);
  }));

test("runs that are given up leave the others alone, and are not sent if they were not yet", () =>
  using(async (sagas, client) => {
    sagas.isHolding = true;
    const [early, late] = [new AbortController(), new AbortController()];
    const others = runs(client, 20);
    const givenUp = runs(client, 5, { signal: late.signal }, "late");
    const unsent = runs(client, 5, { signal: early.signal }, "early");
    early.abort();
    await sagas.until(() => sagas.created.size === 25);
    late.abort();
    for (const error of await errors([...givenUp, ...unsent])) {
      assert.ok(error instanceof CallStopped);
    }
    // The stream still knows it: the same saga goes alone, and finds itself there.
    const again = client.run(ECHO, 0, { sagaId: "late0", timeout: BOUND });
    await sagas.until(() => sagas.runCalls === ALONE_MAX + 1);
    sagas.release();
    assert.deepEqual(await Promise.all([...others, again]), [...numbers(20), 0]);
    assert.ok(!sagas.asked.some((sagaId) => sagaId.startsWith("early")));
    await assert.rejects(client.run(ECHO, 1, { signal: AbortSignal.abort() }), CallStopped);
  }));

test("runs end when their time is over, and what their sagas do then holds no stream open", () =>
  using(async (sagas, client) => {
    sagas.isHolding = true;
    for (const error of await errors(runs(client, 20, { timeout: 50 }))) {
      assert.ok(error instanceof SagaUnfinished);
    }
    await sagas.until(() => sagas.streamsGone === 1);
    const next = runs(client, 20, {}, "next");
    await sagas.until(() => sagas.created.size === 40);
    sagas.release();
    assert.deepEqual(await Promise.all(next), numbers(20));
  }));

test("two runs of one saga both have its end", () =>
  using(async (sagas, client) => {
    const twice = [...runs(client, 20), ...runs(client, 20)];
    assert.deepEqual(await Promise.all(twice), [...numbers(20), ...numbers(20)]);
    assert.equal(sagas.created.size, 20);
  }));

test("closing the client tells those who wait", () =>
  using(async (sagas, client) => {
    sagas.isHolding = true;
    const asked = runs(client, 20).slice(ALONE_MAX);
    await sagas.until(() => sagas.created.size === 20);
    client.close();
    for (const error of await errors(asked)) {
      assert.ok(error instanceof CallStopped);
    }
    await sagas.until(() => sagas.streamsGone === 1);
    sagas.release();
  }));

test("when patience is over every run hears that nobody is there", async () => {
  const sagas = new FakeSagas();
  const address = await sagas.serve();
  sagas.stop();
  const calls = new Calls(address, credentials.createInsecure());
  const shared = new SharedRuns(calls, 300);
  const others = numbers(ALONE_MAX).map(() => shared.alone(() => new Promise(() => undefined)));
  assert.equal(others.length, ALONE_MAX);
  const asked = numbers(20).map((n) => shared.ended(spec(String(n)), BOUND, undefined));
  for (const error of await errors(asked)) {
    assert.ok(error instanceof Unavailable);
  }
  shared.close();
  calls.close();
});

test("an idle stream keeps no process alive", () =>
  using(async (sagas) => {
    const address = await sagas.serve();
    const sdk = new URL("../src/index.js", import.meta.url).href;
    const program = `
      import { Client, declareAction, graph } from ${JSON.stringify(sdk)};
      const builder = graph("echo");
      const echo = builder.build(builder.add("echo", declareAction("echo"), { value: builder.params }));
      const client = new Client(${JSON.stringify(address)});
      const told = await Promise.all(Array.from({ length: 50 }, (_, n) => client.run(echo, n)));
      console.log(told.length);`;
    const options = { timeout: BOUND };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], options);
    assert.equal(stdout, "50\n");
    assert.equal(sagas.conversations.length, 1);
  }));

// ---- without a network

const GRAPH = GraphMessage.fromPartial({ name: "echo" });

function spec(sagaId: string, params = "1", graph = GRAPH): SagaSpec {
  return { ...SagaSpec.fromPartial({ sagaId, params: jsonPayload(params) }), graph };
}

function results(...ids: string[]): RunSagasResponse {
  return RunSagasResponse.fromPartial({ results: ids.map((sagaId) => CreateResult.fromPartial({ sagaId })) });
}

test("frames are bounded in sagas and in bytes", () => {
  const batcher = new Batcher();
  for (const n of numbers(FRAME_SAGAS_MAX + 1)) {
    batcher.add(spec(String(n)));
  }
  const large = `"${"x".repeat(FRAME_BYTES_MAX)}"`;
  const half = `"${"x".repeat(FRAME_BYTES_MAX / 2)}"`;
  for (const [id, params] of Object.entries({ large, one: half, other: half, small: "1" })) {
    batcher.add(spec(id, params));
  }
  const sizes: number[] = [];
  for (let batch = batcher.next(); batch !== undefined; batch = batcher.next()) {
    sizes.push(batch.sagas.length);
  }
  assert.deepEqual(sizes, [FRAME_SAGAS_MAX, 1, 1, 1, 2]);
});

test("a stream names no more graphs than it may; those beyond go inside their sagas", () => {
  const batcher = new Batcher();
  for (const n of numbers(STREAM_GRAPHS_MAX + 1)) {
    batcher.add(spec(String(n), "1", GraphMessage.fromPartial({ name: `g${String(n)}` })));
  }
  let graphs = 0;
  let last: SagaSpec | undefined;
  for (let batch = batcher.next(); batch !== undefined; batch = batcher.next()) {
    graphs += batch.graphs.size;
    last = batch.sagas.at(-1);
  }
  assert.equal(graphs, STREAM_GRAPHS_MAX);
  assert.deepEqual([last?.graph?.name, last?.graphKey], [`g${String(STREAM_GRAPHS_MAX)}`, ""]);
});

test("after a break what is durable is followed, the rest is sent, and each saga ends once", () => {
  const book = new RunBook();
  for (const id of ["a", "b", "c", "d"]) {
    book.add(spec(id));
  }
  book.nextFrame();
  assert.deepEqual(book.receive(results("a", "b")), []);
  book.drop("b");
  book.restart();
  assert.deepEqual(book.nextFrame()?.followIds, ["a"]);
  const frame = book.nextFrame();
  assert.deepEqual(
    frame?.sagas.map(({ sagaId }) => sagaId),
    ["c", "d"],
  );
  assert.equal(frame.graphs.size, 1);
  assert.equal(book.nextFrame(), undefined);
  const ends = ["a", "a", "b", "c"].map((sagaId) => SagaEnd.fromPartial({ sagaId }));
  const told = book.receive({ ...results("c"), ends });
  assert.deepEqual(
    told.map(({ sagaId }) => sagaId),
    ["a", "c"],
  );
  assert.equal(book.isIdle, false);
  book.drop("d");
  assert.ok(book.isIdle && book.knows("d"));
  book.receive({ ...results("d"), ends: [SagaEnd.fromPartial({ sagaId: "d" })] });
  assert.ok(!book.knows("d") && book.size === 0);
});

test("answers that do not fit what was sent are trouble", () => {
  const book = new RunBook();
  book.add(spec("a"));
  book.nextFrame();
  book.receive(results("other"));
  assert.match(book.trouble?.message ?? "", /the result of saga other came where that of a was due/);
  book.restart();
  assert.equal(book.trouble, undefined);
});
