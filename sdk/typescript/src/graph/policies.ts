/** Policies of nodes, as users write them and as they travel. Times are in milliseconds. */

import { durationOf } from "../durations.js";
import {
  IrreversiblePolicy,
  UndoKind,
  UnknownPolicy,
  type RetryPolicy as RetryMessage,
  type Timeouts as TimeoutsMessage,
  type UndoPolicy as UndoMessage,
} from "../gen/sagaline/v1/saga.js";
import type { Duration } from "../gen/google/protobuf/duration.js";

export interface RetryPolicy {
  /** Most attempts, the first included; `Infinity`: as many as it takes. */
  readonly maxAttempts?: number;
  readonly initialBackoff?: number;
  readonly maxBackoff?: number;
  readonly multiplier?: number;
  /** Share of the delay that is random, 0 to 1. */
  readonly jitter?: number;
  /** No new attempt later than this after the first start. */
  readonly totalTimeout?: number;
  /** Types of failures that are not tried again. */
  readonly nonRetryable?: readonly string[];
}

export interface Timeouts {
  /** How long the node may wait for a worker. */
  readonly scheduleToStart?: number;
  /** How long an attempt may run. */
  readonly startToClose?: number;
  /** How long user code may go without reporting progress. */
  readonly heartbeat?: number;
}

export interface UndoPolicy {
  /** `action` (absent too): the undo action. `noop`: there is nothing to undo. `none`: it cannot be undone. */
  readonly kind?: "action" | "noop" | "none";
  readonly retry?: RetryPolicy;
  readonly timeouts?: Timeouts;
  /** For `none`: what unwinding does when it meets the node. */
  readonly irreversible?: "hold" | "forward_only";
}

/** What to do with a node whose outcome stays unknown. */
export type Unknown = "retry_then_undo" | "undo" | "hold";

const duration = (millis: number | undefined): Duration | undefined =>
  millis === undefined ? undefined : durationOf(millis);

/** No bound, as it travels. */
const UNBOUNDED = -1;

export function retryMessage(policy: RetryPolicy | undefined): RetryMessage | undefined {
  return (
    policy && {
      maxAttempts: policy.maxAttempts === Number.POSITIVE_INFINITY ? UNBOUNDED : (policy.maxAttempts ?? 0),
      initialBackoff: duration(policy.initialBackoff),
      maxBackoff: duration(policy.maxBackoff),
      multiplier: policy.multiplier ?? 0,
      jitter: policy.jitter,
      totalTimeout: duration(policy.totalTimeout),
      nonRetryableFailureTypes: [...(policy.nonRetryable ?? [])],
    }
  );
}

export function timeoutsMessage(timeouts: Timeouts | undefined): TimeoutsMessage | undefined {
  return (
    timeouts && {
      scheduleToStart: duration(timeouts.scheduleToStart),
      startToClose: duration(timeouts.startToClose),
      heartbeat: duration(timeouts.heartbeat),
    }
  );
}

const UNDO_KINDS = { action: UndoKind.ACTION, noop: UndoKind.NOOP, none: UndoKind.NONE };
const IRREVERSIBLE = { hold: IrreversiblePolicy.HOLD, forward_only: IrreversiblePolicy.FORWARD_ONLY };
const UNKNOWN = {
  retry_then_undo: UnknownPolicy.RETRY_THEN_UNDO,
  undo: UnknownPolicy.UNDO,
  hold: UnknownPolicy.HOLD,
};

export function undoMessage(policy: UndoPolicy | undefined): UndoMessage | undefined {
  return (
    policy && {
      kind: UNDO_KINDS[policy.kind ?? "action"],
      retry: retryMessage(policy.retry),
      timeouts: timeoutsMessage(policy.timeouts),
      irreversible:
        policy.irreversible === undefined ? IrreversiblePolicy.UNSPECIFIED : IRREVERSIBLE[policy.irreversible],
    }
  );
}

export function unknownMessage(policy: Unknown | undefined): UnknownPolicy {
  return policy === undefined ? UnknownPolicy.UNSPECIFIED : UNKNOWN[policy];
}
