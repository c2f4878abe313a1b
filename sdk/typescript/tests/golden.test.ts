/** tests/golden has the graph that the builders of all SDKs make alike. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { action, declareAction, DefinitionError, graph, protobuf, Worker, type Graph } from "../src/index.js";
import { Graph as GraphMessage, type ActionNode } from "../src/gen/sagaline/v1/saga.js";
import { Sec } from "../src/gen/sagaline/v1/worker_service.js";

interface Host {
  readonly name: string;
  readonly cores: number;
}

interface Order {
  readonly rack: string;
  readonly images: readonly string[];
  readonly spare: Host;
  readonly hosts: readonly Host[];
}

const SEC = protobuf<Sec>("sagaline.v1.Sec", Sec);

const pick = declareAction<{ rack: string; count: number }, Host[]>("hosts.pick", { version: "2" });
const check = declareAction<{ host: string }, boolean>("hosts.check");
const boot = declareAction<{ host: string; healthy: boolean }, string>("hosts.boot");
const flash = declareAction<{ host: Host; image: string }, string>("hosts.flash");
const label = declareAction<{ host: Host; place: number }, boolean>("hosts.label");
const enlist = declareAction<{ sec: Sec }, Sec>("secs.enlist", { inputs: { sec: SEC }, output: SEC });
const cut = declareAction<{ rack: string }, null>("rack.cut");
const announce = declareAction<{ host: string; booted: readonly string[] }, string>("rack.announce");

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

function serverGraph(): Graph<Host, string> {
  const g = graph<Host>("server");
  const healthy = g.add(
    "check",
    check,
    { host: g.params.at("name") },
    { undo: { kind: "none", irreversible: "hold" } },
  );
  const booted = g.add(
    "boot",
    boot,
    { host: g.params.at("name"), healthy },
    {
      undo: {
        retry: { maxAttempts: 7, initialBackoff: 20 },
        timeouts: { startToClose: 9 * SECOND, heartbeat: 2 * SECOND },
      },
      unknown: "undo",
    },
  );
  return g.build(booted);
}

function idleGraph(): Graph<null, unknown> {
  const g = graph("idle");
  g.delay("rest", 0);
  return g.build();
}

function goldenGraph(): Graph<Order, string> {
  const g = graph<Order>("golden");
  const size = g.constant("size", 3);
  const picked = g.add(
    "pick",
    pick,
    { rack: g.params.at("rack"), count: size },
    {
      retry: {
        maxAttempts: 9,
        initialBackoff: 250,
        maxBackoff: 2 * MINUTE,
        multiplier: 1.5,
        jitter: 0,
        totalTimeout: 60 * MINUTE,
        nonRetryable: ["NoSuchRack", "Closed"],
      },
      timeouts: { scheduleToStart: 5 * MINUTE, startToClose: 30 * SECOND, heartbeat: 3 * SECOND },
      undo: { kind: "noop" },
      unknown: "retry_then_undo",
    },
  );
  const approved = g.signal<Host>("approved", { signal: "go", timeout: 12 * 60 * MINUTE, after: [picked] });
  const word = g.signal<string>("word");
  const rest = g.delay("rest", 90 * SECOND + 5, { after: [approved, word] });
  const first = g.subsaga("first", serverGraph(), picked.at(0), { after: [rest] });
  g.subsaga("idle", idleGraph(), null, { after: [first] });
  const fleet = g.mapSubsaga("fleet", g.params.at("hosts"), serverGraph(), {
    maxConcurrency: 4,
    canary: 1,
    maxFailures: 2,
    after: [rest],
  });
  const flashed = g.map("flashed", picked, flash, {
    item: "host",
    inputs: { image: g.params.at("images").at(1) },
    maxConcurrency: 2,
    after: [rest, first],
    undo: { kind: "none", irreversible: "forward_only" },
    unknown: "hold",
  });
  g.map("again", [{ name: "spare", cores: 2 }], flash, {
    item: "host",
    inputs: { image: "v1" },
    canary: 1,
    undo: { kind: "action" },
  });
  const enlisted = g.add(
    "enlist",
    enlist,
    { sec: { secId: "a", address: "b:1", draining: false } },
    { undo: { kind: "noop" } },
  );
  const gone = g.add("cut", cut, { rack: approved.at("name") }, { pivot: true, after: [fleet, flashed, enlisted] });
  const told = g.add(
    "tell",
    announce,
    { host: first, booted: fleet },
    { undo: { kind: "noop" }, retry: {}, after: [gone] },
  );
  return g.build(told);
}

/** A graph without what each language says in its own way. */
function withoutSchemas(message: GraphMessage): GraphMessage {
  const stripped = (node: ActionNode): ActionNode => ({
    ...node,
    inputTypes: new Map([...node.inputTypes].filter(([, spec]) => spec.type?.$case === "messageName")),
    outputType: node.outputType?.type?.$case === "messageName" ? node.outputType : undefined,
  });
  return {
    ...message,
    nodes: message.nodes.map((node) => {
      if (node.kind?.$case === "action") {
        return { ...node, kind: { $case: "action", value: stripped(node.kind.value) } };
      }
      if (node.kind?.$case === "map" && node.kind.value.each?.$case === "action") {
        const each = { $case: "action", value: stripped(node.kind.value.each.value) } as const;
        return { ...node, kind: { $case: "map", value: { ...node.kind.value, each } } };
      }
      return node;
    }),
  };
}

function placesGraph(): Graph<Host[], boolean[]> {
  const g = graph<Host[]>("places");
  const options = { item: "host", index: "place", undo: { kind: "noop" }, retry: { maxAttempts: Infinity } } as const;
  return g.build(g.map("labelled", g.params, label, options));
}

for (const [name, message] of Object.entries({ graph: goldenGraph().message, places: placesGraph().message })) {
  test(`the builder makes the golden graph ${name}`, () => {
    const golden = GraphMessage.decode(
      readFileSync(new URL(`../../../../tests/golden/${name}.binpb`, import.meta.url)),
    );
    // What travels is compared, so that a default which is said and one which is not are the same.
    const built = GraphMessage.decode(GraphMessage.encode(withoutSchemas(message)).finish());
    const byName = (of: GraphMessage): object => Object.fromEntries(of.nodes.map((node) => [node.name, node]));
    assert.deepEqual(byName(built), byName(golden));
    assert.deepEqual(built, golden);
  });
}

test("what no SEC would take is refused where it is written", () => {
  const double = action("double", {}, ({ item }: { item: number }) => 2 * item);
  assert.throws(() => graph("no spaces"), DefinitionError);
  assert.throws(() => graph("g").delay("1st", 1), DefinitionError);
  assert.throws(() => graph("g").signal("s", { signal: "no spaces" }), DefinitionError);
  assert.throws(() => graph("g").map("m", [1], double, { pivot: true }), DefinitionError);
  assert.throws(() => new Worker("a:1", { actions: [cut] }), DefinitionError);
});
