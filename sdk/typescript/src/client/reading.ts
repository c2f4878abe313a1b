/** What a client reads: sagas, lists of them, and their logs. */

import type { ServiceError } from "@grpc/grpc-js";

import { durationOf } from "../durations.js";
import type { LogEntry, SagaRecord } from "../gen/sagaline/v1/log.js";
import { SagaView, type Saga } from "../gen/sagaline/v1/saga.js";
import type { WatchSagaResponse } from "../gen/sagaline/v1/saga_service.js";
import { pause, stopped, type Calls, type CallSettings } from "./calls.js";
import { errorOfCall, Unavailable } from "./errors.js";
import { filterMessage, type SagaFilterOptions } from "./filters.js";
import { sagaInfo, SagaUnfinished, stateOf, type SagaInfo, type SagaState, type WatchedEntry } from "./states.js";

export interface ListOptions extends SagaFilterOptions, CallSettings {
  readonly pageSize?: number;
}

/** Longest time that one call waits; a longer wait is several. */
export const WAIT_MAX = 60_000;
/** How much longer than what it waits for a call may take. */
export const WAIT_MARGIN = 30_000;
/** How long a call may take that goes through many sagas. */
export const SCAN_TIMEOUT = 120_000;

/** The part of a client that reads. */
export class Reading {
  protected constructor(protected readonly calls: Calls) {}

  /** The saga as it stands, with its nodes. */
  async get(sagaId: string, settings: CallSettings = {}): Promise<SagaInfo> {
    const response = await this.calls.call((client) => client.getSaga, { sagaId, view: SagaView.FULL }, settings);
    return found(response.saga);
  }

  /**
   * Waits until a saga has ended or, unless told otherwise, needs an operator; then returns it as it stands. Without a
   * timeout for as long as it takes; throws `SagaUnfinished` when the time is over.
   */
  async wait(sagaId: string, options: CallSettings & { readonly orNeedsOperator?: boolean } = {}): Promise<SagaInfo> {
    const until = options.timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.timeout;
    const orNeedsOperator = options.orNeedsOperator ?? true;
    for (;;) {
      const left = Math.max(0, Math.min(WAIT_MAX, until - Date.now()));
      const request = { sagaId, timeout: durationOf(left), orNeedsOperator };
      const response = await this.calls.call((client) => client.waitSaga, request, {
        timeout: left + WAIT_MARGIN,
        signal: options.signal,
      });
      const saga = found(response.saga);
      if (isOver(saga, orNeedsOperator)) {
        return saga;
      }
      if (Date.now() >= until) {
        throw new SagaUnfinished(`saga ${sagaId} is still ${saga.state}`, saga);
      }
    }
  }

  /**
   * Every entry of a saga's log from `fromSeq` on (absent: the first), then each new one, until the saga has ended. A stream
   * that breaks is taken up where it was: no gap, and no repetition.
   */
  async *watch(
    sagaId: string,
    options: { readonly fromSeq?: number; readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<WatchedEntry, void, undefined> {
    let next = options.fromSeq ?? 1;
    let state: SagaState = "unknown";
    for (let failures = 0; ; failures += 1) {
      giveUp(options.signal);
      let frames = 0;
      const request = { sagaId, fromSeq: BigInt(next) };
      const call = this.calls.stream((client) => client.watchSaga(request));
      const stop = (): void => {
        call.cancel();
      };
      options.signal?.addEventListener("abort", stop);
      try {
        for await (const frame of call as AsyncIterable<WatchSagaResponse>) {
          failures = 0;
          frames += 1;
          state = stateOf(frame.state);
          for (const entry of frame.entries) {
            next = Number(entry.seq) + 1;
            yield watched(entry, state);
          }
        }
        // A stream that ends without a word has no entry left to send.
        if (frames === 0 || state === "succeeded" || state === "unwound" || state === "quarantined") {
          return;
        }
      } catch (error) {
        giveUp(options.signal);
        const read = isServiceError(error) ? errorOfCall(error) : error;
        if (!(read instanceof Unavailable)) {
          throw read;
        }
      } finally {
        options.signal?.removeEventListener("abort", stop);
        call.cancel();
      }
      this.calls.skip();
      await pause(Math.random() * Math.min(2_000, 50 * 2 ** Math.min(failures, 10)), options.signal);
    }
  }

  /** The log as it stands, from `fromSeq` on (absent: the first entry); `watch` goes on with what comes. */
  async *log(
    sagaId: string,
    options: CallSettings & { readonly fromSeq?: number } = {},
  ): AsyncGenerator<LogEntry, void, undefined> {
    let fromSeq = BigInt(options.fromSeq ?? 1);
    do {
      const request = { sagaId, fromSeq, pageSize: 0 };
      const page = await this.calls.call((client) => client.getSagaLog, request, options);
      yield* page.entries;
      fromSeq = page.nextSeq;
    } while (fromSeq > 0n);
  }

  /** What a saga is, as it was written at its creation: with the log, all there is of it. */
  async record(sagaId: string, settings: CallSettings = {}): Promise<SagaRecord> {
    const request = { sagaId, fromSeq: 1n, pageSize: 1 };
    const { record } = await this.calls.call((client) => client.getSagaLog, request, settings);
    if (record === undefined) {
      throw new Error("the server answered without the saga's record: it is not a SEC, or one of another generation");
    }
    return record;
  }

  /** Sagas in the order of their ids; pages are fetched as they are needed. */
  async *list(options: ListOptions = {}): AsyncGenerator<SagaInfo, void, undefined> {
    const filter = filterMessage(options);
    let pageToken = "";
    do {
      const request = { pageSize: options.pageSize ?? 0, pageToken, filter, view: SagaView.BASIC };
      const page = await this.calls.call((client) => client.listSagas, request, options);
      yield* page.sagas.map(sagaInfo);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** How many of the selected sagas there are in each state that occurs. */
  async count(options: SagaFilterOptions & CallSettings = {}): Promise<Map<SagaState, number>> {
    const request = { filter: filterMessage(options) };
    const settings = { timeout: options.timeout ?? SCAN_TIMEOUT, signal: options.signal };
    const { counts } = await this.calls.call((client) => client.countSagas, request, settings);
    return new Map(counts.map(({ state, count }) => [stateOf(state), Number(count)]));
  }
}

/** Whether a wait is over. */
export function isOver(saga: SagaInfo, orNeedsOperator: boolean): boolean {
  return saga.state === "succeeded" || saga.state === "unwound" || (orNeedsOperator && saga.needsOperator);
}

export function found(saga: Saga | undefined): SagaInfo {
  if (saga === undefined) {
    throw new Error("the server answered without a saga: it is not a SEC, or one of another generation");
  }
  return sagaInfo(saga);
}

function watched(entry: LogEntry, state: SagaState): WatchedEntry {
  return { seq: Number(entry.seq), kind: entry.entry?.$case ?? "unknown", entry, state };
}

function giveUp(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw stopped(signal);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "details" in error;
}
