/** The client: creates sagas, waits for them, watches and steers them. */

import { durationOf } from "../durations.js";
import type { Graph } from "../graph/builder.js";
import { Resolution, type LogEntry } from "../gen/sagaline/v1/log.js";
import { SagaState as State, SagaView, type SagaSpec } from "../gen/sagaline/v1/saga.js";
import type { ServiceError } from "@grpc/grpc-js";
import type { SagaFilter, WatchSagaResponse } from "../gen/sagaline/v1/saga_service.js";
import { newUuid7 } from "../ids.js";
import { encodeJson, type JsonValue, type Payload } from "../payload.js";
import type { TlsOptions } from "../worker/io/messages.js";
import { Calls, pause, stopped, type CallSettings } from "./calls.js";
import { errorOfCall, Unavailable } from "./errors.js";
import {
  resultOf,
  sagaInfo,
  SagaUnfinished,
  stateOf,
  type SagaInfo,
  type SagaState,
  type WatchedEntry,
} from "./states.js";

export interface ClientOptions {
  /** Absent: plain text, for loopback and trusted networks. */
  readonly tls?: TlsOptions;
  /** Bearer token of every call. */
  readonly token?: string;
}

export interface CreateOptions extends CallSettings {
  /** Id of the saga, and the key that makes creating it repeatable. Absent: a new UUID. */
  readonly sagaId?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly scopes?: readonly string[];
  /** Milliseconds from creation after which the saga unwinds. */
  readonly deadline?: number;
  /** Milliseconds from creation before the first node starts. */
  readonly startDelay?: number;
  readonly startPaused?: boolean;
  /** W3C trace context that invocations carry on. */
  readonly traceContext?: Readonly<Record<string, string>>;
}

/** Who asks and why; stored in the log. */
export interface By extends CallSettings {
  readonly actor?: string;
  readonly reason?: string;
}

export interface ListOptions extends CallSettings {
  readonly states?: readonly Exclude<SagaState, "unknown">[];
  readonly graphName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly needsOperator?: boolean;
  readonly pageSize?: number;
}

export type Decision = "retry" | "mark_undone" | "mark_failed" | "supply_output";

/** Longest time that one call waits; a longer wait is several. */
const WAIT_MAX = 60_000;

const STATES: Record<Exclude<SagaState, "unknown">, State> = {
  running: State.RUNNING,
  unwinding: State.UNWINDING,
  stuck: State.STUCK,
  succeeded: State.SUCCEEDED,
  unwound: State.UNWOUND,
  quarantined: State.QUARANTINED,
};

/**
 * ```ts
 * const client = new Client("localhost:7070");
 * const booking = await client.run(TRIP, { card: "4242", city: "Oslo" });
 * ```
 *
 * Several addresses, as a list or with commas between them, are tried one after another. Where no SEC can be reached calls
 * are repeated until `timeout` is over, 30 seconds if not said.
 */
export class Client {
  private readonly calls: Calls;

  constructor(address: string | readonly string[], options: ClientOptions = {}) {
    this.calls = new Calls(address, options.tls, options.token);
  }

  /** Lets go of the connections. */
  close(): void {
    this.calls.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Creates a saga and starts it. It is durable when this resolves. */
  async create<P>(graph: Graph<P, unknown>, params: NoInfer<P>, options: CreateOptions = {}): Promise<SagaInfo> {
    const spec: SagaSpec = {
      sagaId: options.sagaId ?? newUuid7(),
      graph: graph.message,
      graphKey: "",
      params: graph.params.encode(params),
      labels: new Map(Object.entries(options.labels ?? {})),
      scopes: [...(options.scopes ?? [])],
      deadline: options.deadline === undefined ? undefined : durationOf(options.deadline),
      startDelay: options.startDelay === undefined ? undefined : durationOf(options.startDelay),
      startPaused: options.startPaused ?? false,
      traceContext: new Map(Object.entries(options.traceContext ?? {})),
    };
    const response = await this.calls.call((client) => client.createSaga, { saga: spec }, options);
    return found(response.saga);
  }

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
        timeout: left + 30_000,
        signal: options.signal,
      });
      const saga = found(response.saga);
      if (saga.state === "succeeded" || saga.state === "unwound" || (orNeedsOperator && saga.needsOperator)) {
        return saga;
      }
      if (Date.now() >= until) {
        throw new SagaUnfinished(`saga ${sagaId} is still ${saga.state}`, saga);
      }
    }
  }

  /** Creates a saga, waits for its end and returns its result; throws `SagaNotSucceeded` where there is none. */
  async run<P, R>(graph: Graph<P, R>, params: NoInfer<P>, options: CreateOptions = {}): Promise<R> {
    const { timeout, ...others } = options;
    const until = timeout === undefined ? undefined : Date.now() + timeout;
    const saga = await this.create(graph, params, timeout === undefined ? others : options);
    const rest = until === undefined ? {} : { timeout: Math.max(0, until - Date.now()) };
    return resultOf(await this.wait(saga.sagaId, { ...rest, signal: options.signal }), graph.result);
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
      const request = { sagaId, fromSeq: BigInt(next) };
      const call = this.calls.stream((client, metadata) => client.watchSaga(request, metadata));
      const stop = (): void => {
        call.cancel();
      };
      options.signal?.addEventListener("abort", stop);
      try {
        for await (const frame of call as AsyncIterable<WatchSagaResponse>) {
          failures = 0;
          state = stateOf(frame.state);
          for (const entry of frame.entries) {
            next = Number(entry.seq) + 1;
            yield watched(entry, state);
          }
        }
        if (state === "succeeded" || state === "unwound" || state === "quarantined") {
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

  /** Asks a saga to undo what it has done. */
  async unwind(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.unwindSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Holds every start of an action or undo action of a saga. */
  async pause(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.pauseSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Ends a pause. */
  async resume(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.resumeSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Sends a signal, whose payload becomes the node's output. Counts once for each `requestId`. */
  async signal(
    sagaId: string,
    signal: string,
    payload: JsonValue = null,
    options: CallSettings & { readonly requestId?: string } = {},
  ): Promise<SagaInfo> {
    const request = { sagaId, signal, payload: encodeJson(payload), requestId: options.requestId ?? newUuid7() };
    return found((await this.calls.call((client) => client.signalSaga, request, options)).saga);
  }

  /** Decides about a node that is held, in doubt, or whose undo failed. */
  async resolve(
    sagaId: string,
    node: string,
    decision: Decision,
    by: By & { readonly actor: string; readonly reason: string; readonly output?: Payload },
  ): Promise<SagaInfo> {
    const request = { sagaId, node, resolution: RESOLUTIONS[decision], by: attribution(by), output: by.output };
    return found((await this.calls.call((client) => client.resolveNode, request, by)).saga);
  }

  /** Sagas in the order of their ids; pages are fetched as they are needed. */
  async *list(options: ListOptions = {}): AsyncGenerator<SagaInfo, void, undefined> {
    const filter: SagaFilter = {
      states: (options.states ?? []).map((state) => STATES[state]),
      graphName: options.graphName ?? "",
      labels: new Map(Object.entries(options.labels ?? {})),
      createTimeFrom: undefined,
      createTimeBefore: undefined,
      needsOperator: options.needsOperator ?? false,
      scope: "",
      failedNode: "",
      idleFor: undefined,
    };
    let pageToken = "";
    do {
      const request = { pageSize: options.pageSize ?? 0, pageToken, filter, view: SagaView.BASIC };
      const page = await this.calls.call((client) => client.listSagas, request, options);
      yield* page.sagas.map(sagaInfo);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
}

function found(saga: Parameters<typeof sagaInfo>[0] | undefined): SagaInfo {
  if (saga === undefined) {
    throw new Error("the server answered without a saga: it is not a SEC, or one of another generation");
  }
  return sagaInfo(saga);
}

function attribution(by: By): { actor: string; reason: string } {
  return { actor: by.actor ?? "", reason: by.reason ?? "" };
}

function watched(entry: LogEntry, state: SagaState): WatchedEntry {
  return { seq: Number(entry.seq), kind: entry.entry?.$case ?? "unknown", entry, state };
}

const RESOLUTIONS: Record<Decision, Resolution> = {
  retry: Resolution.RETRY,
  mark_undone: Resolution.MARK_UNDONE,
  mark_failed: Resolution.MARK_FAILED,
  supply_output: Resolution.SUPPLY_OUTPUT,
};

function giveUp(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw stopped(signal);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "details" in error;
}
