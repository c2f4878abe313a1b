/** Sagas as the client gives them. */

import type { Timestamp } from "../gen/google/protobuf/timestamp.js";
import type { Failure } from "../gen/sagaline/v1/failure.js";
import type { LogEntry } from "../gen/sagaline/v1/log.js";
import { NodeStatus, SagaState as State, type NodeView, type Saga } from "../gen/sagaline/v1/saga.js";
import { SagalineError } from "../errors.js";
import { decodeJson, type Payload } from "../payload.js";

export type SagaState = "running" | "unwinding" | "stuck" | "succeeded" | "unwound" | "quarantined" | "unknown";

const STATES: Partial<Record<State, SagaState>> = {
  [State.RUNNING]: "running",
  [State.UNWINDING]: "unwinding",
  [State.STUCK]: "stuck",
  [State.SUCCEEDED]: "succeeded",
  [State.UNWOUND]: "unwound",
  [State.QUARANTINED]: "quarantined",
};

export function stateOf(state: State): SagaState {
  return STATES[state] ?? "unknown";
}

export interface FailureInfo {
  readonly type: string;
  readonly message: string;
}

export interface NodeInfo {
  readonly name: string;
  /** Lower case, such as "succeeded" or "undo_failed". */
  readonly status: string;
  readonly action: string;
  readonly parents: readonly string[];
  readonly attempt: number;
  readonly undoAttempt: number;
  readonly output: Payload | undefined;
  readonly failure: FailureInfo | undefined;
  /** Why nothing is happening to it, for people. */
  readonly waitingFor: string;
}

export interface SagaInfo {
  readonly sagaId: string;
  readonly graphName: string;
  readonly state: SagaState;
  readonly paused: boolean;
  /** True while only an operator can bring it further. */
  readonly needsOperator: boolean;
  readonly createTime: Date | undefined;
  readonly finishTime: Date | undefined;
  readonly labels: ReadonlyMap<string, string>;
  readonly scopes: readonly string[];
  readonly output: Payload | undefined;
  /** Why it unwinds or unwound. */
  readonly failure: FailureInfo | undefined;
  readonly failedNode: string;
  readonly owner: string;
  readonly logLength: number;
  /** Only where the whole saga was asked for. */
  readonly nodes: readonly NodeInfo[];
}

export function sagaInfo(saga: Saga): SagaInfo {
  return {
    sagaId: saga.sagaId,
    graphName: saga.graphName,
    state: stateOf(saga.state),
    paused: saga.paused,
    needsOperator: saga.needsOperator,
    createTime: dateOf(saga.createTime),
    finishTime: dateOf(saga.finishTime),
    labels: saga.labels,
    scopes: saga.scopes,
    output: saga.output,
    failure: failureInfo(saga.failure),
    failedNode: saga.failedNode,
    owner: saga.owner,
    logLength: Number(saga.logLength),
    nodes: saga.nodes.map(nodeInfo),
  };
}

function nodeInfo(node: NodeView): NodeInfo {
  return {
    name: node.name,
    status: (NodeStatus[node.status] ?? "unknown").toLowerCase(),
    action: node.action,
    parents: node.parents,
    attempt: node.attempt,
    undoAttempt: node.undoAttempt,
    output: node.output,
    failure: failureInfo(node.failure),
    waitingFor: node.waitingFor,
  };
}

function failureInfo(failure: Failure | undefined): FailureInfo | undefined {
  return failure === undefined ? undefined : { type: failure.type, message: failure.message };
}

export function dateOf(time: Timestamp | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(Number(time.seconds) * 1_000 + Math.floor(time.nanos / 1e6));
}

/** One entry of a saga's log, with the state of the saga after the frame that brought it. */
export interface WatchedEntry {
  readonly seq: number;
  /** Kind of entry, such as "nodeSucceeded". */
  readonly kind: string;
  readonly entry: LogEntry;
  readonly state: SagaState;
}

/** A saga has no result, or none yet. */
export class SagaNotSucceeded extends SagalineError {
  override readonly code: string = "SAGA_NOT_SUCCEEDED";

  constructor(
    message: string,
    readonly saga: SagaInfo,
  ) {
    super(message);
  }
}

/** The saga ended and nothing of it remains: what was done is undone. */
export class SagaUnwound extends SagaNotSucceeded {
  override readonly code = "SAGA_UNWOUND";
}

/** Only an operator can bring the saga further. */
export class SagaNeedsOperator extends SagaNotSucceeded {
  override readonly code = "SAGA_NEEDS_OPERATOR";
}

/** The time to wait is over. The saga goes on, and can be waited for again. */
export class SagaUnfinished extends SagaNotSucceeded {
  override readonly code = "SAGA_UNFINISHED";
}

/** What makes a result of an output; undefined: JSON. */
export type Decoder<R> = { decode(payload: Payload): R } | undefined;

export function outputOf<R>(output: Payload | undefined, decoder: Decoder<R>): R {
  const payload = output ?? { value: undefined, encoding: "", metadata: new Map<string, string>() };
  return decoder === undefined ? (decodeJson(payload) as R) : decoder.decode(payload);
}

/** The result of a saga that succeeded; throws of any other. */
export function resultOf<R>(saga: SagaInfo, decoder: Decoder<R>): R {
  if (saga.state === "succeeded") {
    return outputOf(saga.output, decoder);
  }
  const why = saga.failure === undefined ? "" : `: ${saga.failure.type}: ${saga.failure.message}`;
  const at = saga.failedNode === "" ? "" : ` at node ${saga.failedNode}`;
  if (saga.state === "unwound") {
    throw new SagaUnwound(`saga ${saga.sagaId} unwound${at}${why}`, saga);
  }
  if (saga.needsOperator) {
    throw new SagaNeedsOperator(`saga ${saga.sagaId} needs an operator${at}${why}`, saga);
  }
  throw new SagaUnfinished(`saga ${saga.sagaId} is still ${saga.state}${why}`, saga);
}
