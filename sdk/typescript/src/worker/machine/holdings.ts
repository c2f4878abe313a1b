/**
 * What this worker process holds, whichever SEC it came from: slots, attempts, and answers not yet confirmed. Its promises:
 *
 * - User code runs for each attempt at most once, and of each node at most one attempt at a time, whatever the side.
 * - Every attempt taken is answered: by a result once it was handed to user code, and by a rejection only before. Answers
 *   are kept until a SEC has confirmed them, and follow their saga from SEC to SEC.
 * - Never more running than slots, never more held than slots and a small excess.
 * - No attempt of a lower epoch starts after a higher one of the same saga was seen.
 */

import type { Failure } from "../../gen/sagaline/v1/failure.js";
import { Payload } from "../../gen/sagaline/v1/payload.js";
import {
  InFlightState,
  InvocationResult,
  RejectionReason,
  ResultStatus,
  type Adoption,
  type Invocation,
  type InvocationRef,
  type ResultAck,
  type SagaMoved,
  type Sec,
} from "../../gen/sagaline/v1/worker_service.js";
import { Attempt, describe, isValid, keyOf, type CancelReason, type OwnerOf } from "./attempts.js";
import { Effects } from "./effects.js";
import { Epochs } from "./epochs.js";
import { bounded, payloadTooLarge } from "./failures.js";
import * as limits from "./limits.js";
import { ProgressBox } from "./progress.js";
import { Rejections } from "./rejections.js";
import { Results } from "./results.js";
import { Slots } from "./slots.js";
import { Streams } from "./streams.js";
import { Windows } from "./windows.js";

/** How an attempt ended, as far as user code's side knows. */
export type Outcome = { $case: "output"; value: Payload } | { $case: "failure"; value: Failure };

/** The slot pool of what is served; undefined: it is not served. */
export type PoolOf = (action: string, version: string, kind: number) => string | undefined;

export interface HoldingsOptions {
  readonly poolOf: PoolOf;
  readonly slots: ReadonlyMap<string, number>;
  readonly unackedBytesMax?: number;
  readonly unackedResultsMax?: number;
}

export class Holdings {
  readonly effects = new Effects();
  readonly streams = new Streams();
  readonly results: Results;
  readonly rejections = new Rejections(limits.UNCONFIRMED_REJECTIONS_MAX);
  readonly windows: Windows;
  readonly progress = new ProgressBox();
  draining = false;
  /** The drain's time is over, and so is the grace for what still ran: sessions close whatever is left. */
  givenUp = false;
  private payloadBytes = limits.PAYLOAD_BYTES;
  private readonly slots: Slots;
  private readonly poolOf: PoolOf;
  private readonly epochs = new Epochs();
  private readonly payloadBytesOf = new Map<string, number>();
  private members: ReadonlySet<string> | undefined;
  private drainAt = Number.POSITIVE_INFINITY;
  private giveUpAt = Number.POSITIVE_INFINITY;

  constructor(options: HoldingsOptions) {
    this.poolOf = options.poolOf;
    this.results = new Results(
      options.unackedBytesMax ?? limits.UNACKED_BYTES_MAX,
      options.unackedResultsMax ?? limits.UNACKED_RESULTS_MAX,
    );
    this.slots = new Slots(options.slots, this.effects, this.rejections);
    this.windows = new Windows(options.slots, (sec, pool) => this.slots.count(sec, pool));
  }

  // ---- streams

  /** A stream to this address begins; returns its number. */
  opened(address: string): number {
    this.windows.opened(address);
    return this.streams.opened(address);
  }

  /** It is this SEC's, which takes payloads up to this size; all that is unconfirmed is to be said again on it. */
  welcomed(address: string, sec: string, payloadBytes: number, now: number): void {
    this.streams.welcomed(address, sec);
    this.windows.welcomed(address, sec, now);
    this.payloadBytesOf.set(address, payloadBytes);
    this.fit();
    this.results.opened(sec, now);
    this.rejections.opened(sec);
    this.progress.resendAll(sec);
  }

  /** The stream to this address is over. */
  ended(address: string, now: number): void {
    const sec = this.streams.ended(address);
    this.windows.ended(address, now);
    this.payloadBytesOf.delete(address);
    if (sec !== undefined) {
      this.results.closed(sec, now);
      this.rejections.closed(sec);
      this.progress.closed(sec);
      if (this.isGone(sec)) {
        this.rejections.release((other) => other === sec);
      }
    }
  }

  /** These SECs live, and no others. */
  takeMembers(secs: readonly Sec[]): void {
    this.members = new Set(secs.map((sec) => sec.secId));
    for (const sec of secs) {
      this.results.routes.learn(sec.secId, sec.address);
    }
    this.rejections.release((sec) => this.isGone(sec));
  }

  private isGone(sec: string): boolean {
    return this.members !== undefined && !this.members.has(sec) && !this.results.routes.isOpen(sec);
  }

  /** Keep to the lowest limit for payloads. What was kept under a higher one would never fit into a frame. */
  private fit(): void {
    this.payloadBytes = Math.min(...this.payloadBytesOf.values());
    this.results.replace((message) => {
      const size = message.outcome?.$case === "output" ? Payload.encode(message.outcome.value).finish().length : 0;
      if (size <= this.payloadBytes) {
        return undefined;
      }
      const value = payloadTooLarge("the output", size, this.payloadBytes);
      return { ...message, outcome: { $case: "failure", value } };
    });
  }

  // ---- what comes from a SEC

  /** An invocation: attach it to what is here, take it, or reject it. */
  receive(invocation: Invocation, sec: string, now: number): void {
    const ref = invocation.ref;
    if (!isValid(ref)) {
      this.effects.note("error", "invocation without a name ignored", { sec });
      return;
    }
    if (this.attach(ref, sec, invocation.epoch, now)) {
      return;
    }
    const pool = this.poolOf(invocation.action, invocation.version, ref.kind);
    const attempt = new Attempt(ref, invocation, pool ?? "", sec, invocation.epoch);
    const reason = this.epochs.isStale(ref.sagaId, invocation.epoch)
      ? RejectionReason.STALE_EPOCH
      : pool === undefined
        ? RejectionReason.UNKNOWN_ACTION
        : this.refusal(attempt);
    if (reason !== undefined) {
      this.rejections.add(ref, sec, reason);
    } else {
      this.epochs.see(ref.sagaId, invocation.epoch);
      this.slots.take(attempt, now);
    }
  }

  private refusal(attempt: Attempt): RejectionReason | undefined {
    return this.draining
      ? RejectionReason.DRAINING // what is held of the node (W22) says nothing then: W32
      : this.slots.refusal(attempt, limits.EXCESS_MAX * Math.max(this.windows.streamCount, 1));
  }

  /**
   * True if this attempt is here already: it is then neither run again nor rejected, whatever its epoch. From a SEC that
   * lost the saga it changes nothing; another one is answered from here on.
   */
  private attach(ref: InvocationRef, sec: string, epoch: bigint, now: number): boolean {
    const key = keyOf(ref);
    const attempt = this.slots.attempts.get(key);
    if (attempt === undefined && !this.results.has(key) && !this.rejections.has(key)) {
      return false;
    }
    const isOwner = !this.epochs.isStale(ref.sagaId, epoch);
    if (isOwner) {
      this.epochs.see(ref.sagaId, epoch);
    }
    if (this.rejections.has(key)) {
      this.rejections.repeat(key, sec, isOwner);
    } else if (isOwner && attempt !== undefined) {
      this.hand(attempt, sec, epoch);
    } else if (isOwner) {
      this.results.assign(key, sec, epoch, now);
    }
    return true;
  }

  private hand(attempt: Attempt, sec: string, epoch: bigint): void {
    attempt.sec = sec;
    attempt.epoch = epoch > attempt.epoch ? epoch : attempt.epoch;
    this.progress.assign(attempt.key, sec);
  }

  /** The fate of a result, told on a lane of `Results`. */
  acknowledge(ack: ResultAck, lane: string, now: number): void {
    if (this.results.acknowledge(ack, lane, now)) {
      this.forgotten(ack);
    }
  }

  /** A call with results has ended; undefined: without an answer. */
  called(address: string, acks: readonly ResultAck[] | undefined, now: number): void {
    for (const ack of this.results.called(address, acks, now)) {
      this.forgotten(ack);
    }
  }

  private forgotten(ack: ResultAck): void {
    if (ack.status !== ResultStatus.RECORDED && ack.status !== ResultStatus.DUPLICATE && ack.ref !== undefined) {
      const facts = { attempt: describe(ack.ref), status: ResultStatus[ack.status] ?? ack.status, why: ack.message };
      this.effects.note("warn", "result not taken", facts);
    }
  }

  /** A SEC's wish to stop an attempt. False if the attempt is not held here. */
  cancel(ref: InvocationRef, reason: CancelReason): boolean {
    const key = keyOf(ref);
    const attempt = this.slots.attempts.get(key);
    if (attempt === undefined) {
      return this.results.has(key) || this.rejections.has(key);
    }
    if (attempt.state === "queued") {
      this.slots.reject(attempt, RejectionReason.CANCELLED);
    } else {
      this.slots.stop(attempt, reason);
    }
    return true;
  }

  /** Sagas left a SEC. What is held of them is answered to their new owners, where these are known. */
  move(sec: string, moves: readonly SagaMoved[], now: number): void {
    const owners = new Map<string, string>();
    for (const move of moves) {
      if (!this.epochs.isStale(move.sagaId, move.epoch)) {
        this.epochs.see(move.sagaId, move.epoch);
        const owner = move.owner?.secId ?? "";
        this.results.routes.learn(owner, move.owner?.address ?? "");
        owners.set(move.sagaId, owner);
      }
    }
    this.reassign((ref, present) => {
      const owner = owners.get(ref.sagaId);
      // An adoption may have come first; only the SEC that gave the saga away is wrong by now.
      return owner !== undefined && (owner !== "" || present === sec) ? { sec: owner, epoch: 0n } : undefined;
    }, now);
  }

  /** A SEC has taken sagas over: from here on what is held of them is answered there. */
  adopt(sec: string, adoptions: readonly Adoption[], now: number): void {
    const epochs = new Map<string, bigint>();
    for (const adoption of adoptions) {
      if (!this.epochs.isStale(adoption.sagaId, adoption.epoch)) {
        this.epochs.see(adoption.sagaId, adoption.epoch);
        epochs.set(adoption.sagaId, adoption.epoch);
      }
    }
    this.reassign((ref) => {
      const epoch = epochs.get(ref.sagaId);
      return epoch === undefined ? undefined : { sec, epoch };
    }, now);
  }

  private reassign(ownerOf: OwnerOf, now: number): void {
    for (const attempt of this.slots.attempts.values()) {
      const moved = ownerOf(attempt.ref, attempt.sec);
      if (moved !== undefined) {
        this.hand(attempt, moved.sec, moved.epoch);
      }
    }
    this.results.reassign(ownerOf, now);
    this.rejections.reassign(ownerOf);
  }

  // ---- what comes from user code's side

  /** User code ended. Its slot is free at once; the window is, when the result has been written. */
  finished(key: string, outcome: Outcome, now: number): void {
    const attempt = this.slots.attempts.get(key);
    if (attempt?.state !== "running") {
      this.effects.note("error", "outcome of an attempt that does not run", { key });
      return;
    }
    this.slots.drop(attempt);
    this.progress.end(key);
    const message = this.resultOf(attempt, outcome);
    this.results.add(attempt.sec, message, InvocationResult.encode(message).finish().length, now);
    this.slots.advance(attempt, outcome.$case === "output", now);
  }

  /** The result of an attempt. What can't be sent whole is told as a failure instead. */
  private resultOf(attempt: Attempt, outcome: Outcome): InvocationResult {
    let told = outcome;
    if (told.$case === "output") {
      const size = Payload.encode(told.value).finish().length;
      if (size > this.payloadBytes) {
        told = { $case: "failure", value: payloadTooLarge("the output", size, this.payloadBytes) };
      }
    } else {
      told = { $case: "failure", value: bounded(told.value, this.payloadBytes) };
    }
    return { ref: attempt.ref, epoch: attempt.epoch, outcome: told };
  }

  /** An attempt was not handed to user code, and never will be. */
  notStarted(key: string, now: number): void {
    const attempt = this.slots.attempts.get(key);
    if (attempt?.state === "running") {
      this.slots.drop(attempt);
      this.progress.end(key);
      const reason = attempt.cancelReason === undefined ? RejectionReason.NO_CAPACITY : RejectionReason.CANCELLED;
      this.rejections.add(attempt.ref, attempt.sec, reason);
      this.slots.advance(attempt, false, now);
    }
  }

  /** User code is alive. Told late, after its end, it means nothing any more. */
  reportProgress(key: string, details: Payload | undefined, now: number): void {
    const attempt = this.slots.attempts.get(key);
    if (attempt?.state === "running") {
      this.progress.report(attempt.ref, attempt.sec, details, now);
    }
  }

  // ---- leaving, and time

  /** Take nothing more, hand back what has not started, and let run what runs. Again: it can only get shorter. */
  drain(now: number, timeout: number): void {
    this.drainAt = Math.min(now + Math.max(timeout, 0), this.drainAt);
    this.draining = true;
    for (const attempt of [...this.slots.queued.values()]) {
      this.slots.reject(attempt, RejectionReason.DRAINING);
    }
  }

  /** Milliseconds until what still runs will be cancelled. */
  drainLeft(now: number): number {
    return this.draining ? Math.max(0, this.drainAt - now) : 0;
  }

  /** Do what is due. */
  tick(now: number): void {
    this.slots.tick(now);
    this.results.wake(now);
    this.progress.wake(now);
    this.windows.tick(now);
    if (now >= this.drainAt && this.giveUpAt === Number.POSITIVE_INFINITY) {
      this.giveUpAt = now + limits.CANCEL_GRACE_MS;
      for (const attempt of this.slots.running.values()) {
        this.slots.stop(attempt, "worker_stopping");
      }
    }
    if (now >= this.giveUpAt) {
      this.givenUp = true;
    }
  }

  /** When `tick` has something to do. */
  nextDeadline(): number {
    const drain = this.giveUpAt === Number.POSITIVE_INFINITY ? this.drainAt : this.giveUpAt;
    return Math.min(
      this.slots.nextDeadline(),
      this.results.nextWake(),
      this.progress.nextWake(),
      this.windows.splitAt,
      this.givenUp ? Number.POSITIVE_INFINITY : drain,
    );
  }

  // ---- what sessions ask

  /** Whether no SEC is to send anything more at present. */
  get closed(): boolean {
    return this.draining || this.results.full;
  }

  /** Whether anything is left to be done: an attempt that has not ended, or a result that no SEC has. */
  get busy(): boolean {
    return this.slots.attempts.size > 0 || this.results.size > 0;
  }

  /**
   * Everything of this SEC that is held; undefined: of all. What was rejected and is not confirmed stands as queued, which
   * is what it was: until the rejection is read the SEC must not take the attempt for lost.
   */
  *report(sec: string | undefined): Iterable<{ ref: InvocationRef; state: InFlightState }> {
    for (const attempt of this.slots.attempts.values()) {
      if (sec === undefined || attempt.sec === sec) {
        yield { ref: attempt.ref, state: stateOf(attempt) };
      }
    }
    for (const ref of this.results.of(sec)) {
      yield { ref, state: InFlightState.RESULT_PENDING };
    }
    for (const ref of this.rejections.of(sec)) {
      yield { ref, state: InFlightState.QUEUED };
    }
  }

  /** Where one attempt stands. */
  stateOf(ref: InvocationRef): InFlightState {
    const key = keyOf(ref);
    const attempt = this.slots.attempts.get(key);
    if (attempt !== undefined) {
      return stateOf(attempt);
    }
    if (this.results.has(key)) {
      return InFlightState.RESULT_PENDING;
    }
    return this.rejections.has(key) ? InFlightState.QUEUED : InFlightState.NOT_HELD;
  }

  /** Attempts held, and bytes of results without a final acknowledgement. */
  counts(): { held: number; unackedBytes: number } {
    return { held: this.slots.attempts.size + this.results.size, unackedBytes: this.results.bytes };
  }

  /** Attempts whose user code has not ended. */
  leftRunning(): Iterable<Attempt> {
    return this.slots.running.values();
  }
}

function stateOf(attempt: Attempt): InFlightState {
  return attempt.state === "queued" ? InFlightState.QUEUED : InFlightState.RUNNING;
}
