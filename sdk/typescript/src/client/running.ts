/**
 * Runs many sagas over one RunSagas stream and survives its breaking: what to send, what was answered. No I/O.
 *
 * A saga is *outstanding* from the moment it is added until its end is known. When a stream breaks, the next one is told of
 * all outstanding sagas: those known to be durable are followed by id, the others are sent again, which is safe because
 * each has an id. So every saga ends exactly once here, however many streams it takes.
 */

import type { SagaSpec } from "../gen/sagaline/v1/saga.js";
import type {
  BatchError,
  CreateResult,
  RunSagasRequest,
  RunSagasResponse,
  SagaEnd,
} from "../gen/sagaline/v1/saga_service.js";
import { Batcher } from "./batching.js";
import { errorOfBatch, ServerFault, Unavailable, type RpcError } from "./errors.js";

/** What the protocol allows. */
export const FOLLOWED_PER_FRAME_MAX = 1_000;

/** What became of a saga: its end, or why it was refused or can't be followed. */
export interface Told {
  readonly sagaId: string;
  readonly what: SagaEnd | RpcError;
}

export class RunBook {
  private readonly outstanding = new Map<string, SagaSpec>();
  private readonly durable = new Set<string>();
  /** Of no more interest, though the present stream may still tell of them. */
  private readonly abandoned = new Set<string>();
  private readonly unfollowed = new Set<string>();
  /** Sent and without a result, in the order sent. */
  private readonly unanswered = new Set<string>();
  private batcher = new Batcher();
  /** How often a saga came further: was durable, or ended. */
  progress = 0;
  /** Why the present stream is of no more use, though it has not broken. */
  trouble: RpcError | undefined;

  /** How many sagas the book keeps in mind. */
  get size(): number {
    return this.outstanding.size + this.abandoned.size;
  }

  /** Whether every saga that was added has ended. */
  get isIdle(): boolean {
    return this.outstanding.size === 0;
  }

  /** Whether the present stream may tell of a saga of this id that was added before. */
  knows(sagaId: string): boolean {
    return this.outstanding.has(sagaId) || this.abandoned.has(sagaId);
  }

  /** Takes on one more saga, of an id that it does not know. */
  add(saga: SagaSpec): void {
    this.outstanding.set(saga.sagaId, saga);
    this.batcher.add(saga);
  }

  /** Takes no more interest in a saga. If it was not sent yet, it never is. */
  drop(sagaId: string): void {
    const saga = this.outstanding.get(sagaId);
    if (saga === undefined) {
      return;
    }
    this.outstanding.delete(sagaId);
    this.durable.delete(sagaId);
    if (!this.batcher.drop(saga) && !this.unfollowed.delete(sagaId)) {
      this.abandoned.add(sagaId);
    }
  }

  /** Begins a new stream: what the last one had not answered may or may not have arrived. */
  restart(): void {
    this.trouble = undefined;
    this.batcher = new Batcher();
    this.unanswered.clear();
    this.unfollowed.clear();
    this.abandoned.clear();
    for (const [sagaId, saga] of this.outstanding) {
      if (this.durable.has(sagaId)) {
        this.unfollowed.add(sagaId);
      } else {
        this.batcher.add(saga);
      }
    }
  }

  /** The next frame to send; undefined if there is nothing to say at present. */
  nextFrame(): RunSagasRequest | undefined {
    if (this.unfollowed.size > 0) {
      const followIds = [...this.unfollowed].slice(0, FOLLOWED_PER_FRAME_MAX);
      for (const sagaId of followIds) {
        this.unfollowed.delete(sagaId);
      }
      return { graphs: new Map(), sagas: [], followIds, orNeedsOperator: true };
    }
    const batch = this.batcher.next();
    if (batch === undefined) {
      return undefined;
    }
    for (const { sagaId } of batch.sagas) {
      this.unanswered.add(sagaId);
    }
    return { ...batch, followIds: [], orNeedsOperator: true };
  }

  /** What became of sagas that are outstanding no more. Afterwards look at `trouble`. */
  receive(frame: RunSagasResponse): Told[] {
    return [
      ...frame.results.map((result) => this.created(result)),
      ...frame.ends.map((end) =>
        end.error === undefined ? this.taken(end.sagaId, end) : this.refused(end.sagaId, end.error),
      ),
    ].filter((told) => told !== undefined);
  }

  private created(result: CreateResult): Told | undefined {
    const [expected] = this.unanswered;
    if (expected === undefined || (result.sagaId !== expected && result.sagaId !== "")) {
      const what = `the result of saga ${result.sagaId} came where that of ${expected ?? "none"} was due`;
      this.trouble = new ServerFault(what, { status: "UNKNOWN", reason: "", problems: [], retryDelay: undefined });
      return undefined;
    }
    this.unanswered.delete(expected);
    if (result.error !== undefined) {
      return this.refused(expected, result.error);
    }
    if (this.outstanding.has(expected)) {
      this.progress += 1;
      this.durable.add(expected);
    }
    return undefined;
  }

  private refused(sagaId: string, problem: BatchError): Told | undefined {
    const error = errorOfBatch(problem);
    if (error instanceof Unavailable) {
      // It says nothing of the saga: on the next stream it is sent or followed again.
      this.trouble = error;
      return undefined;
    }
    return this.taken(sagaId, error);
  }

  /** The saga is outstanding no more; undefined for a second word on its end, which adds nothing. */
  private taken(sagaId: string, what: SagaEnd | RpcError): Told | undefined {
    this.progress += 1;
    this.abandoned.delete(sagaId);
    this.durable.delete(sagaId);
    return this.outstanding.delete(sagaId) ? { sagaId, what } : undefined;
  }
}
