/** What a worker serves: its actions as the executor finds them, as Hello tells of them, and as holdings route them. */

import type { AnyAction } from "../actions.js";
import { DefinitionError } from "../errors.js";
import { BarrierKind, Hello, type ActionSpec } from "../gen/sagaline/v1/worker_service.js";
import type { InvocationKind } from "../gen/sagaline/v1/saga.js";
import type { TypeSpec } from "../gen/sagaline/v1/payload.js";
import type { Codec } from "../payload.js";
import { servedKey } from "./io/messages.js";
import { ACTION, UNDO } from "./machine/attempts.js";
import * as limits from "./machine/limits.js";

const BARRIERS = { none: BarrierKind.NONE, dedup: BarrierKind.DEDUP, tombstone: BarrierKind.TOMBSTONE };

export interface Served {
  /** By action, version and side. */
  readonly actions: Map<string, AnyAction>;
  /** Slot pools by the same keys. */
  readonly pools: Map<string, string>;
  readonly specs: ActionSpec[];
}

/** Checks what a worker is to serve; throws `DefinitionError` where it does not fit together. */
export function served(actions: readonly AnyAction[], slots: ReadonlyMap<string, number>): Served {
  if (actions.length < 1 || actions.length > limits.ACTIONS_MAX) {
    throw new DefinitionError(
      `a worker serves 1 to ${String(limits.ACTIONS_MAX)} actions, not ${String(actions.length)}`,
    );
  }
  const made: Served = { actions: new Map(), pools: new Map(), specs: [] };
  for (const action of actions) {
    const pool = action.options.pool ?? "";
    if (made.actions.has(servedKey(action.name, action.version, ACTION))) {
      throw new DefinitionError(`action ${action.name} version ${action.version} is given twice`);
    }
    if (action.elsewhere) {
      throw new DefinitionError(`action ${action.name} is only declared: it has no function that could run`);
    }
    if (!slots.has(pool)) {
      throw new DefinitionError(`action ${action.name} uses the slot pool ${JSON.stringify(pool)}: add it to slots`);
    }
    const kinds = action.undo === undefined ? [ACTION] : [ACTION, UNDO];
    for (const kind of kinds) {
      made.actions.set(servedKey(action.name, action.version, kind), action);
      made.pools.set(servedKey(action.name, action.version, kind), pool);
    }
    made.specs.push(specOf(action, pool, kinds));
  }
  return made;
}

function specOf(action: AnyAction, slotPool: string, kinds: InvocationKind[]): ActionSpec {
  const codecs = Object.entries((action.options.inputs ?? {}) as Record<string, Codec<unknown>>);
  const inputTypes = codecs.flatMap(([name, codec]): [string, TypeSpec][] =>
    codec.type === undefined ? [] : [[name, codec.type]],
  );
  return {
    action: action.name,
    versions: [action.version],
    kinds,
    slotPool,
    maxInFlight: action.options.maxInFlight ?? 0,
    inputTypes: new Map(inputTypes),
    outputType: action.output.type,
    barrier: BARRIERS[action.options.barrier ?? "none"],
  };
}

/** The hello with what is served; without its types where they would not fit. Throws what every SEC would refuse. */
export function checkedHello(hello: Hello): Hello {
  const texts: [string, string, number][] = [
    ["identity", hello.identity, limits.IDENTITY_BYTES],
    ["buildId", hello.buildId, limits.BUILD_ID_BYTES],
    ...[...hello.labels].flat().map((text): [string, string, number] => ["a label", text, limits.LABEL_BYTES]),
  ];
  for (const [name, text, bytesMax] of texts) {
    if (Buffer.byteLength(text) > bytesMax) {
      throw new DefinitionError(`${name} of the worker has more than ${String(bytesMax)} bytes`);
    }
  }
  if (hello.labels.size > limits.LABELS_MAX) {
    throw new DefinitionError(`a worker has at most ${String(limits.LABELS_MAX)} labels`);
  }
  const fits = (candidate: Hello): boolean => Hello.encode(candidate).finish().length <= limits.HELLO_BYTES_MAX;
  if (fits(hello)) {
    return hello;
  }
  const bare = hello.actions.map((spec) => ({
    ...spec,
    inputTypes: new Map<string, TypeSpec>(),
    outputType: undefined,
  }));
  if (!fits({ ...hello, actions: bare })) {
    throw new DefinitionError("the worker's description does not fit into a frame: serve fewer actions");
  }
  return { ...hello, actions: bare };
}
