/** What a worker holds: an attempt, from its invocation to the end of user code. Then its result takes its place. */

import { InvocationKind } from "../../gen/sagaline/v1/saga.js";
import type { Invocation, InvocationRef } from "../../gen/sagaline/v1/worker_service.js";

export type { InvocationRef } from "../../gen/sagaline/v1/worker_service.js";

export const ACTION = InvocationKind.ACTION;
export const UNDO = InvocationKind.UNDO;

/** The name of an attempt as a key. No saga id and no node has a line feed in it. */
export function keyOf(ref: InvocationRef): string {
  return `${ref.sagaId}\n${ref.node}\n${String(ref.kind)}\n${String(ref.attempt)}`;
}

/** Whether it names an attempt at all. */
export function isValid(ref: InvocationRef | undefined): ref is InvocationRef {
  return ref !== undefined && ref.sagaId !== "" && ref.node !== "" && ref.attempt > 0;
}

/** Whether `one` is at or after `other` in the order in which a SEC may ever send attempts of a node. */
export function isNotEarlier(one: InvocationRef, other: InvocationRef): boolean {
  return one.kind === other.kind ? one.attempt >= other.attempt : one.kind > other.kind;
}

/** How an attempt is named in logs. */
export function describe(ref: InvocationRef): string {
  const side = ref.kind === UNDO ? "undo" : "action";
  return `${side} attempt ${String(ref.attempt)} of node ${ref.node} of saga ${ref.sagaId}`;
}

/**
 * Why an attempt was asked to stop. `saga_unwinding` is advice: what the attempt does will be undone, so it may as well
 * finish. The others are orders.
 */
export type CancelReason = "saga_unwinding" | "timed_out" | "superseded" | "not_found" | "worker_stopping";

export function isAdvice(reason: CancelReason): boolean {
  return reason === "saga_unwinding";
}

/** `queued` has not run and can still be rejected; `running` was handed to user code, so only a result answers it. */
export type AttemptState = "queued" | "running" | "ended";

/** One attempt that this worker was sent and that has not ended. */
export class Attempt {
  readonly key: string;
  /** Saga and node: of these, user code runs once at a time, whatever the side. */
  readonly place: string;
  state: AttemptState = "queued";
  /** Why it was asked to stop: the first order, or an advice before there is one. */
  cancelReason: CancelReason | undefined;
  /** When it has run for too long. */
  stopAt = Number.POSITIVE_INFINITY;

  constructor(
    readonly ref: InvocationRef,
    readonly invocation: Invocation,
    readonly pool: string,
    /** The SEC that its result goes to: the last that sent or adopted it, or that its saga moved to; "" if unknown. */
    public sec: string,
    /** Ownership epoch under which it was last received or adopted. */
    public epoch: bigint,
  ) {
    this.key = keyOf(ref);
    this.place = `${ref.sagaId}\n${ref.node}`;
  }
}

/** Whose an attempt is, which was `present`'s until now, and under which epoch. Undefined: that has not changed. */
export type OwnerOf = (ref: InvocationRef, present: string) => { sec: string; epoch: bigint } | undefined;
