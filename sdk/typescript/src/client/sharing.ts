/**
 * Concurrent runs of one client share one stream that creates their sagas and tells of their ends.
 *
 * Nothing waits for others to come. A few runs at once have a call each, which is the shortest way; those beyond go over the
 * stream, whose frames fill by themselves while the one before is written. The stream is opened when it is first needed,
 * and given up when nobody has needed it for a moment.
 */

import type { SagaSpec } from "../gen/sagaline/v1/saga.js";
import type { SagaEnd } from "../gen/sagaline/v1/saga_service.js";
import { stopped, type Calls } from "./calls.js";
import { CallStopped, RpcError, SagaNotFound, Unavailable } from "./errors.js";
import { RunStream } from "./keeping.js";
import { RunBook, type Told } from "./running.js";

/** Runs at once that have a call each. */
export const ALONE_MAX = 8;
/** Runs at once over the stream, those included that it may still tell of; those beyond have a call each. */
export const SHARED_MAX = 10_000;
/** How long the stream stays open without a run. Short, because an open one keeps the process alive. */
const IDLE_MS = 100;
/** Longest time that setTimeout can wait. */
const TIMER_MAX = 2 ** 31 - 1;

interface Waiter {
  /** undefined: the run has to go alone. */
  readonly resolve: (end: SagaEnd | undefined) => void;
  readonly reject: (error: RpcError) => void;
}

/** The runs of one client. */
export class SharedRuns {
  private runningAlone = 0;
  private readonly waiting = new Map<string, Waiter>();
  private stream: RunStream | undefined;
  private idle: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly calls: Calls,
    /** Milliseconds for which no SEC may be reached before runs hear of it. */
    private readonly patience: number,
  ) {}

  /** Counts a run that has a call of its own, for as long as it takes. */
  async alone<T>(run: () => Promise<T>): Promise<T> {
    this.runningAlone += 1;
    try {
      return await run();
    } finally {
      this.runningAlone -= 1;
    }
  }

  /** Whether a run of this saga goes over the stream now. Ask in the turn in which it goes: others count on it. */
  isToShare(sagaId: string): boolean {
    if (this.isClosed || (this.runningAlone < ALONE_MAX && this.waiting.size === 0)) {
      return false;
    }
    const book = this.stream?.book;
    const isKnown = this.waiting.has(sagaId) || book?.knows(sagaId) === true;
    return !isKnown && (book?.size ?? 0) < SHARED_MAX;
  }

  /**
   * Runs a saga over the stream until it has ended, or needs an operator. Resolves with its end; undefined: the run is to go
   * alone, with the same saga, and its time to wait may be over. Rejects with an `RpcError` when no SEC could be reached.
   */
  async ended(saga: SagaSpec, wait: number, signal: AbortSignal | undefined): Promise<SagaEnd | undefined> {
    if (signal?.aborted === true) {
      throw stopped(signal);
    }
    let cleanUp = (): void => undefined;
    const end = new Promise<SagaEnd | undefined>((resolve, reject) => {
      this.waiting.set(saga.sagaId, { resolve, reject });
      const alone = (): void => {
        resolve(undefined);
      };
      const timer = wait === Number.POSITIVE_INFINITY ? undefined : setTimeout(alone, Math.min(wait, TIMER_MAX));
      const stop = (): void => {
        if (signal !== undefined) {
          reject(stopped(signal));
        }
      };
      signal?.addEventListener("abort", stop);
      cleanUp = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", stop);
      };
    });
    this.add(saga);
    try {
      return await end;
    } finally {
      cleanUp();
      this.remove(saga.sagaId);
    }
  }

  /** Gives up the stream; who waits on it hears of that. */
  close(): void {
    this.isClosed = true;
    const facts = { status: "CANCELLED", reason: "", problems: [], retryDelay: undefined };
    this.end(new CallStopped("the client was closed", facts));
  }

  private add(saga: SagaSpec): void {
    clearTimeout(this.idle);
    this.stream ??= this.begin();
    this.stream.book.add(saga);
    this.stream.wake();
  }

  private remove(sagaId: string): void {
    this.waiting.delete(sagaId);
    this.stream?.book.drop(sagaId);
    if (this.waiting.size === 0 && this.stream !== undefined) {
      clearTimeout(this.idle);
      this.idle = setTimeout(() => {
        this.end(undefined);
      }, IDLE_MS).unref();
    }
  }

  private begin(): RunStream {
    const stream = new RunStream(this.calls, new RunBook(), this.tell, this.patience);
    stream.keep().catch((error: unknown) => {
      if (this.stream === stream) {
        // Whatever else is wrong with the stream, single calls may go well.
        this.end(error instanceof Unavailable ? error : undefined);
      }
    });
    return stream;
  }

  private readonly tell = ({ sagaId, what }: Told): void => {
    const waiter = this.waiting.get(sagaId);
    if (!(what instanceof RpcError)) {
      waiter?.resolve(what);
    } else if (what instanceof SagaNotFound) {
      waiter?.reject(what);
    } else {
      waiter?.resolve(undefined); // a refusal in a batch names fields of the batch: sent alone, it is refused with its own
    }
  };

  /** No stream any more, until one is needed. Without an error those who wait go alone. */
  private end(error: RpcError | undefined): void {
    clearTimeout(this.idle);
    this.stream?.leave();
    this.stream = undefined;
    for (const waiter of this.waiting.values()) {
      if (error === undefined) {
        waiter.resolve(undefined);
      } else {
        waiter.reject(error);
      }
    }
  }
}
