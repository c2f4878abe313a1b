/** Which sagas: filters as users write them and as they travel. */

import { durationOf } from "../durations.js";
import type { Timestamp } from "../gen/google/protobuf/timestamp.js";
import { SagaState as State } from "../gen/sagaline/v1/saga.js";
import { SagaFilter } from "../gen/sagaline/v1/saga_service.js";
import type { SagaState } from "./states.js";

/** Which sagas; all that is given must hold. */
export interface SagaFilterOptions {
  /** Any of these states. */
  readonly states?: readonly Exclude<SagaState, "unknown">[];
  readonly graphName?: string;
  /** Labels that they must have, with these values. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Created at or after this time. */
  readonly createdFrom?: Date;
  /** Created before this time. */
  readonly createdBefore?: Date;
  /** True: only those that need an operator. */
  readonly needsOperator?: boolean;
  /** A scope that they must have. */
  readonly scope?: string;
  /** A node that failed first. */
  readonly failedNode?: string;
  /** Unfinished, and without a log entry for at least so many milliseconds. */
  readonly idleFor?: number;
}

const STATES: Record<Exclude<SagaState, "unknown">, State> = {
  running: State.RUNNING,
  unwinding: State.UNWINDING,
  stuck: State.STUCK,
  succeeded: State.SUCCEEDED,
  unwound: State.UNWOUND,
  quarantined: State.QUARANTINED,
};

export function filterMessage(options: SagaFilterOptions): SagaFilter {
  return SagaFilter.fromPartial({
    states: (options.states ?? []).map((state) => STATES[state]),
    graphName: options.graphName ?? "",
    labels: new Map(Object.entries(options.labels ?? {})),
    createTimeFrom: options.createdFrom && timestampOf(options.createdFrom),
    createTimeBefore: options.createdBefore && timestampOf(options.createdBefore),
    needsOperator: options.needsOperator ?? false,
    scope: options.scope ?? "",
    failedNode: options.failedNode ?? "",
    idleFor: options.idleFor === undefined ? undefined : durationOf(options.idleFor),
  });
}

function timestampOf(time: Date): Timestamp {
  const seconds = Math.floor(time.getTime() / 1_000);
  return { seconds: BigInt(seconds), nanos: (time.getTime() - seconds * 1_000) * 1_000_000 };
}
