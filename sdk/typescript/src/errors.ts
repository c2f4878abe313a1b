/**
 * Every error that the SDK throws, and the three outcomes that actions throw themselves. `code` is stable: programs may
 * compare it. A message may change with any release.
 */

import type { JsonValue } from "./payload.js";

/** Everything that the SDK throws on purpose. */
export class SagalineError extends Error {
  readonly code: string = "SAGALINE_ERROR";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * How an attempt ended, told by the action or undo action that throws it. Every other value that is thrown counts as
 * `Retry`, with the name of its class as its type.
 */
export abstract class ActionOutcome extends SagalineError {
  override readonly code: string = "ACTION_OUTCOME";

  constructor(
    /** Stable type for programs, such as "CardDeclined"; at most 128 bytes reach the log. */
    readonly type: string,
    /** For people, at most 4 KiB. No secrets: operators read it. */
    readonly description = "",
    /** Values for programs that read the failure; at most 4. */
    readonly details: readonly JsonValue[] = [],
  ) {
    super(description === "" ? type : `${type}: ${description}`);
  }
}

/**
 * The action failed and is known to have had **no effect, in this or any earlier attempt**. The saga unwinds and this node
 * is not undone. If the effect is not known, throw `Retry`. Thrown by an undo action: the undo can never succeed.
 */
export class Failed extends ActionOutcome {
  override readonly code: string = "FAILED";
}

/** A barrier: the node was undone before this action came, so nothing of it stands, or ever will. */
export class Suppressed extends Failed {
  override readonly code = "SUPPRESSED";
}

/** The attempt may or may not have had an effect; try again, perhaps after a delay in milliseconds. */
export class Retry extends ActionOutcome {
  override readonly code: string = "RETRY";

  constructor(
    type: string,
    description = "",
    readonly delayMs?: number,
    details: readonly JsonValue[] = [],
  ) {
    super(type, description, details);
  }
}

/** A barrier: a later attempt has been here already, and this one can't know what that did. */
export class StaleToken extends Retry {
  override readonly code = "STALE_TOKEN";
}

/** Neither try again nor unwind: an operator has to look at this node. */
export class Hold extends ActionOutcome {
  override readonly code: string = "HOLD";
}

/** A barrier: the node was recorded with other inputs. Nothing ran: one of the two is not this node. */
export class InputMismatch extends Hold {
  override readonly code = "INPUT_MISMATCH";
}

/** A barrier: the SEC knows that the action succeeded, and no effect is on record. Nothing ran. */
export class NotRecorded extends Hold {
  override readonly code = "NOT_RECORDED";
}

/** A mistake in the program, found before anything was sent. */
export class DefinitionError extends SagalineError {
  override readonly code: string = "BAD_DEFINITION";
}

/** A barrier is used where it cannot keep its promise. Nothing was changed. */
export class BarrierMisuse extends DefinitionError {
  override readonly code = "BARRIER_MISUSE";
}

/** A value does not fit its type, or cannot be a payload at all. */
export class ConversionError extends SagalineError {
  override readonly code: string = "CONVERSION_FAILED";
}

/** A worker cannot go on. */
export class WorkerError extends SagalineError {
  override readonly code: string = "WORKER_ERROR";
}

/** Why the signal of an attempt's context is aborted: let it pass, unless the effect is already there. */
export class AttemptCancelled extends WorkerError {
  override readonly code = "ATTEMPT_CANCELLED";
}
