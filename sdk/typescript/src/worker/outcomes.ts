/** What the values that user code throws say of an attempt. */

import type { AttemptContext } from "../context.js";
import { ActionOutcome, AttemptCancelled, Failed, Hold, Retry } from "../errors.js";
import { FailureDisposition, FailureSource, type Failure } from "../gen/sagaline/v1/failure.js";
import { durationOf } from "../durations.js";
import { encodeJson } from "../payload.js";
import {
  cancelled,
  cutText,
  DETAILS_MAX,
  failure,
  RETRY_DELAY_MS_MAX,
  STACK_BYTES,
  timedOut,
} from "./machine/failures.js";

const { FAIL, HOLD, RETRY } = FailureDisposition;

/** What a thrown value says of its attempt. */
export function failureOf(thrown: unknown, context: AttemptContext, sendStack: boolean): Failure {
  if (thrown instanceof ActionOutcome) {
    return told(thrown);
  }
  if (isCancellation(thrown, context)) {
    const reason = context.cancelReason;
    return context.isOverdue ? timedOut() : cancelled(reason ?? "by user code");
  }
  const made = failure(typeName(thrown), textOf(thrown), RETRY, FailureSource.APPLICATION);
  if (sendStack && thrown instanceof Error) {
    made.stackTrace = cutText(thrown.stack ?? "", STACK_BYTES);
  }
  return made;
}

/** Whether it is what the attempt's own signal makes abortable calls throw. */
function isCancellation(thrown: unknown, context: AttemptContext): boolean {
  if (thrown instanceof AttemptCancelled) {
    return true;
  }
  return (
    context.signal.aborted &&
    (thrown === context.signal.reason || (thrown as Partial<Error> | null)?.name === "AbortError")
  );
}

/** User code says itself how its attempt ended. An outcome of no known kind says nothing of the effect: RETRY. */
export function told(outcome: ActionOutcome): Failure {
  const disposition = outcome instanceof Failed ? FAIL : outcome instanceof Hold ? HOLD : RETRY;
  const made = failure(outcome.type, outcome.description, disposition, FailureSource.APPLICATION);
  if (outcome instanceof Retry && outcome.delayMs !== undefined) {
    made.nextRetryDelay = durationOf(Math.min(Math.max(outcome.delayMs, 0), RETRY_DELAY_MS_MAX));
  }
  for (const detail of outcome.details.slice(0, DETAILS_MAX)) {
    try {
      made.details.push(encodeJson(detail));
    } catch {
      continue; // a detail that can't be sent must not hide the outcome
    }
  }
  return made;
}

/** The name of the class of what was thrown. */
export function typeName(thrown: unknown): string {
  if (thrown === null || (typeof thrown !== "object" && typeof thrown !== "function")) {
    return thrown === null ? "null" : typeof thrown;
  }
  const name = thrown.constructor.name;
  return name === "Error" && thrown instanceof Error && thrown.name !== "" ? thrown.name : name || "Error";
}

/** A message; a value that can't even say it must not hide what happened. */
export function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "(its message can't be had)";
  }
}
