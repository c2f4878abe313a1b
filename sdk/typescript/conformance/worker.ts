/** The program that the conformance kit drives; docs/sdk-authors.md says what it serves. */

import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import {
  action,
  ConversionError,
  Failed,
  Hold,
  json,
  protobuf,
  Retry,
  Worker,
  type AnyAction,
  type Codec,
  type Context,
  type JsonValue,
  type UndoContext,
} from "../src/index.js";
import { Sec } from "../src/gen/sagaline/v1/worker_service.js";

const GATE_LOOK_MS = 10;

function setting(name: string, otherwise = ""): string {
  return process.env[name] ?? otherwise;
}

const effects = setting("SAGALINE_EFFECTS", "/dev/null");
const gates = setting("SAGALINE_GATES", ".");

function effect(event: "start" | "end", context: Context, more: object = {}): void {
  const { action, kind, sagaId, node, attempt } = context;
  appendFileSync(effects, `${JSON.stringify({ event, action, kind, saga: sagaId, node, attempt, ...more })}\n`);
}

function isOpen(gate: string): boolean {
  return existsSync(join(gates, gate));
}

/** Waits for a gate; an order to stop ends it. */
async function pass(gate: string, context: Context): Promise<void> {
  while (!isOpen(gate)) {
    await sleep(GATE_LOOK_MS, undefined, { signal: context.signal });
  }
}

/** What user code is told. */
function told(context: Context, undo: JsonValue): { readonly [key: string]: JsonValue } {
  return {
    saga: context.sagaId,
    node: context.node,
    kind: context.kind,
    attempt: context.attempt,
    idempotency_key: context.idempotencyKey,
    fencing_token: String(context.fencingToken),
    epoch: String(context.epoch),
    labels: Object.fromEntries(context.labels),
    trace_context: Object.fromEntries(context.traceContext),
    has_deadline: context.deadline !== undefined,
    stable_id: context.stableId("x"),
    undo,
  };
}

function toldOfUndo(context: UndoContext, output: unknown): { readonly [key: string]: JsonValue } {
  return told(context, {
    succeeded: context.undo.actionSucceeded,
    output: (output ?? null) as JsonValue,
    failure_type: context.undo.sagaFailure?.type ?? null,
    action_key: context.undo.actionIdempotencyKey,
  });
}

interface Sides<In extends object, Out> {
  readonly version?: string;
  readonly inputs?: { readonly [K in keyof In]?: Codec<In[K]> };
  readonly output?: Codec<Out>;
  readonly undo?: (context: UndoContext, output: Out | undefined) => unknown;
  readonly undoTells?: (context: UndoContext, output: Out | undefined) => object;
  readonly oneSided?: boolean;
}

/** An action that tells when its user code begins and ends. */
function served<In extends object, Out>(
  name: string,
  run: (input: In, context: Context) => Out | Promise<Out>,
  sides: Sides<In, Out> = {},
): AnyAction {
  const options = {
    version: sides.version ?? "1",
    ...(sides.inputs === undefined ? {} : { inputs: sides.inputs }),
    ...(sides.output === undefined ? {} : { output: sides.output }),
  };
  const forward = async (input: In, context: Context): Promise<Out> => {
    effect("start", context);
    try {
      return await run(input, context);
    } finally {
      effect("end", context);
    }
  };
  const undo = async ({ output }: { output: Out | undefined }, context: UndoContext): Promise<void> => {
    effect("start", context, sides.undoTells?.(context, output));
    try {
      await sides.undo?.(context, output);
    } finally {
      effect("end", context);
    }
  };
  return action<In, Out>(name, options, forward, sides.oneSided === true ? {} : { undo });
}

interface Order {
  readonly id: string;
  readonly count: number;
}

function order(value: unknown): Order {
  const { id, count } = (value ?? {}) as Partial<Record<keyof Order, unknown>>;
  if (typeof id !== "string" || !Number.isInteger(count)) {
    throw new ConversionError("an order has an id and a whole count");
  }
  return { id, count: count as number };
}

const ORDER = json<Order>({
  parse: order,
  schema: {
    type: "object",
    properties: { id: { type: "string" }, count: { type: "integer" } },
    required: ["id", "count"],
  },
});

const SEC = protobuf<Sec>("sagaline.v1.Sec", Sec);

type Described = { readonly type: string; readonly message: string };

const actions: AnyAction[] = [
  served("echo", ({ value }: { value: JsonValue }) => value),
  served("fail", ({ type, message }: Described): null => {
    throw new Failed(type, message);
  }),
  served("retry", ({ type, message, delay_ms }: Described & { delay_ms?: number }): null => {
    throw (delay_ms ?? 0) > 0 ? new Retry(type, message, delay_ms) : new Retry(type, message);
  }),
  served("hold", ({ type, message }: Described): null => {
    throw new Hold(type, message);
  }),
  served("crash", ({ message }: { message: string }): null => {
    throw new RangeError(message);
  }),
  served("crash_undo", (): null => null, {
    undo: () => {
      throw new RangeError("the undo action crashed");
    },
  }),
  served(
    "gate",
    async ({ name }: { name: string }, context) => {
      await pass(name, context);
      return name;
    },
    { undo: (context) => pass(`undo-${context.sagaId}`, context) },
  ),
  served("stubborn", async ({ name }: { name: string }) => {
    while (!isOpen(name)) {
      await sleep(GATE_LOOK_MS);
    }
    return name;
  }),
  served("heeding", async ({ name }: { name: string }, context) => {
    while (!isOpen(name)) {
      if (context.cancelReason === "saga_unwinding") {
        throw new Failed("Heeded", "the saga unwinds, and nothing took effect");
      }
      await sleep(GATE_LOOK_MS, undefined, { signal: context.signal });
    }
    return name;
  }),
  served("block", ({ name }: { name: string }) => {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    while (!isOpen(name)) {
      Atomics.wait(cell, 0, 0, GATE_LOOK_MS);
    }
    return name;
  }),
  served("big", ({ bytes }: { bytes: number }) => "x".repeat(bytes)),
  served("progress", async ({ name }: { name: string }, context) => {
    const last = context.lastProgress ?? null;
    context.heartbeat({ at: 1 });
    await pass(name, context);
    context.heartbeat({ at: 2 });
    return { last };
  }),
  served("describe", (_: { value: JsonValue }, context) => told(context, null), {
    undoTells: (context, output) => ({ told: toldOfUndo(context, output) }),
  }),
  served("typed", ({ order: { count } }: { order: Order }) => count, { inputs: { order: ORDER } }),
  served("misfit", () => 10n), // JSON has no bigint
  served("flip", ({ sec }: { sec: Sec }): Sec => ({ ...sec, draining: !sec.draining }), {
    inputs: { sec: SEC },
    output: SEC,
  }),
  served("versioned", (_: object, context) => context.version),
  served("versioned", (_: object, context) => context.version, { version: "2" }),
  served("one_sided", (): null => null, { oneSided: true }),
];

const worker = new Worker(setting("SAGALINE_ADDRESS"), {
  actions,
  slots: Number(setting("SAGALINE_SLOTS", "4")),
  drainTimeout: Number(setting("SAGALINE_DRAIN_SECONDS", "25")) * 1_000,
  buildId: setting("SAGALINE_BUILD_ID"),
});
await worker.run();
process.exit(0); // what user code is left behind must not hold the process up
