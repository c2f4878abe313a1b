/** What an action or undo action is told about its attempt, and what it can say while it runs. */

import { createHash } from "node:crypto";

import { millisOf } from "./durations.js";
import { AttemptCancelled } from "./errors.js";
import { ActionOutcome, type Invocation } from "./gen/sagaline/v1/worker_service.js";
import { decodeJson, encodeJson, type JsonValue, type Payload } from "./payload.js";
import type { CancelReason } from "./worker/machine/attempts.js";

export type { CancelReason } from "./worker/machine/attempts.js";

/** Name space of `stableId`, the same in every language's SDK. */
const STABLE_IDS = Buffer.from("81a05ee2a37c5762a96f1edde0101c46", "hex");

export interface UndoInfo {
  /** False: no definite answer of the action was ever had. It may have run, not have run, or still arrive. */
  readonly actionSucceeded: boolean;
  /** The key that every attempt of the action carried: what it did elsewhere can be looked up by it. */
  readonly actionIdempotencyKey: string;
  /** Why the saga unwinds. */
  readonly sagaFailure: { readonly type: string; readonly message: string } | undefined;
}

export interface Context {
  readonly sagaId: string;
  /** Name of the node, with the subsagas it is in: "server/pick". */
  readonly node: string;
  readonly kind: "action" | "undo";
  /** From 1. */
  readonly attempt: number;
  readonly action: string;
  readonly version: string;
  /** The same for every attempt of this side of this node, for ever: pass it to third-party APIs. */
  readonly idempotencyKey: string;
  /** Grows with every attempt, action before undo, across SECs: lets your stores refuse older writers. */
  readonly fencingToken: bigint;
  /** Which ownership of the saga sent the attempt. */
  readonly epoch: bigint;
  readonly labels: ReadonlyMap<string, string>;
  /** W3C trace context to make spans below. */
  readonly traceContext: ReadonlyMap<string, string>;
  /** When the attempt will be asked to stop, as `Date.now()` tells time; undefined without a limit. */
  readonly deadline: number | undefined;
  /** Milliseconds until then; never negative. */
  readonly remaining: number | undefined;
  /** What an earlier attempt reported last as progress; undefined if there is none. */
  readonly lastProgress: JsonValue | undefined;
  /** Aborted when the attempt is ordered to stop; its reason is an `AttemptCancelled`. Not because the saga unwinds. */
  readonly signal: AbortSignal;
  /**
   * Why the attempt is asked to stop; undefined while it is not. Good also in code that never yields to the event loop.
   * `saga_unwinding` is advice: what this attempt does will be undone, so it may as well finish, or throw `Failed` where
   * it is certain that nothing took effect.
   */
  readonly cancelReason: CancelReason | undefined;
  /** Throws where the attempt is ordered to stop. */
  throwIfCancelled(): void;
  /** Reports progress. With a value, the next attempt gets it as `lastProgress`. */
  heartbeat(progress?: JsonValue): void;
  /** A UUID that is the same for the action and its undo action, for every attempt, in every language. */
  stableId(name: string): string;
  /** What the SEC sent. For barriers, which compare inputs byte for byte. */
  readonly invocation: Invocation;
}

/** The context of an undo action. */
export interface UndoContext extends Context {
  readonly undo: UndoInfo;
}

/** What the context needs of the worker. */
export interface ContextPort {
  /** Takes what the worker's connection has sent, also while the event loop is blocked. */
  poll(): void;
  progress(details: Payload | undefined): void;
}

/** Made by the worker for each attempt. */
export class AttemptContext implements UndoContext {
  readonly deadline: number | undefined;
  private readonly controller = new AbortController();
  private reason: CancelReason | undefined;
  /** Whether it was asked to stop because `start_to_close` was over. */
  isOverdue = false;

  constructor(
    readonly invocation: Invocation,
    private readonly port: ContextPort,
  ) {
    const limit = invocation.startToClose;
    this.deadline = limit === undefined ? undefined : Date.now() + millisOf(limit);
  }

  get sagaId(): string {
    return this.invocation.ref?.sagaId ?? "";
  }

  get node(): string {
    return this.invocation.ref?.node ?? "";
  }

  get kind(): "action" | "undo" {
    return this.invocation.undo === undefined ? "action" : "undo";
  }

  get attempt(): number {
    return this.invocation.ref?.attempt ?? 0;
  }

  get action(): string {
    return this.invocation.action;
  }

  get version(): string {
    return this.invocation.version;
  }

  get idempotencyKey(): string {
    return this.invocation.idempotencyKey;
  }

  get fencingToken(): bigint {
    return this.invocation.fencingToken;
  }

  get epoch(): bigint {
    return this.invocation.epoch;
  }

  get labels(): ReadonlyMap<string, string> {
    return this.invocation.labels;
  }

  get traceContext(): ReadonlyMap<string, string> {
    return this.invocation.traceContext;
  }

  get remaining(): number | undefined {
    return this.deadline === undefined ? undefined : Math.max(0, this.deadline - Date.now());
  }

  get lastProgress(): JsonValue | undefined {
    const progress = this.invocation.lastProgress;
    return progress === undefined ? undefined : (decodeJson(progress) as JsonValue);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get cancelReason(): CancelReason | undefined {
    this.port.poll();
    return this.reason;
  }

  get undo(): UndoInfo {
    const undo = this.invocation.undo;
    const failure = undo?.sagaFailure;
    return {
      actionSucceeded: undo?.actionOutcome === ActionOutcome.SUCCEEDED,
      actionIdempotencyKey: undo?.actionIdempotencyKey ?? "",
      sagaFailure: failure === undefined ? undefined : { type: failure.type, message: failure.message },
    };
  }

  throwIfCancelled(): void {
    this.port.poll();
    this.signal.throwIfAborted();
  }

  heartbeat(progress?: JsonValue): void {
    this.port.progress(progress === undefined ? undefined : encodeJson(progress));
  }

  stableId(name: string): string {
    const digest = createHash("sha1")
      .update(STABLE_IDS)
      .update(`${this.sagaId}\n${this.node}\n${name}`, "utf8")
      .digest();
    digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x50;
    digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
    return digest.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  /** The worker was asked to have this attempt stop. */
  cancel(reason: CancelReason, startToClose: boolean): void {
    this.reason = reason;
    this.isOverdue = startToClose;
    if (reason !== "saga_unwinding") {
      this.controller.abort(new AttemptCancelled(reason));
    }
  }
}
