/** The client: creates sagas, waits for them, watches and steers them. */

import { durationOf } from "../durations.js";
import type { Graph } from "../graph/builder.js";
import { SagaState as State, type SagaSpec } from "../gen/sagaline/v1/saga.js";
import { newUuid7 } from "../ids.js";
import { channelCredentials, type TlsOptions, type Token } from "../security.js";
import { Calls, type CallSettings } from "./calls.js";
import { Operating } from "./operating.js";
import { found, isOver, WAIT_MARGIN, WAIT_MAX } from "./reading.js";
import { SharedRuns } from "./sharing.js";
import { outputOf, resultOf, type SagaInfo } from "./states.js";

export interface ClientOptions {
  /** Absent: plain text, for loopback and trusted networks. */
  readonly tls?: TlsOptions;
  /** Bearer token of every call and stream, where SECs know parties by token; needs `tls`. */
  readonly token?: Token;
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

/**
 * ```ts
 * const client = new Client("localhost:7070");
 * const booking = await client.run(TRIP, { card: "4242", city: "Oslo" });
 * ```
 *
 * Several addresses, as a list or with commas between them, are tried one after another. Where no SEC can be reached calls
 * are repeated until `timeout` is over, 30 seconds if not said.
 *
 * One client is enough for a program: concurrent runs of one share a stream, which costs less than a call for each.
 */
export class Client extends Operating {
  private readonly runs = new SharedRuns(this.calls, WAIT_MAX + WAIT_MARGIN);

  constructor(address: string | readonly string[], options: ClientOptions = {}) {
    super(new Calls(address, channelCredentials(options.tls, options.token)));
  }

  /** Lets go of the connections; runs that share a stream end with `CallStopped`. */
  close(): void {
    this.runs.close();
    this.calls.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Creates a saga and starts it. It is durable when this resolves. */
  async create<P>(graph: Graph<P, unknown>, params: NoInfer<P>, options: CreateOptions = {}): Promise<SagaInfo> {
    const response = await this.calls.call(
      (client) => client.createSaga,
      { saga: specOf(graph, params, options) },
      options,
    );
    return found(response.saga);
  }

  /** Creates a saga, waits for its end and returns its result; throws `SagaNotSucceeded` where there is none. */
  async run<P, R>(graph: Graph<P, R>, params: NoInfer<P>, options: CreateOptions = {}): Promise<R> {
    const until = options.timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.timeout;
    const saga = specOf(graph, params, options);
    const wait = until - Date.now();
    const isShared = wait > 0 && this.runs.isToShare(saga.sagaId);
    const end = isShared ? await this.runs.ended(saga, wait, options.signal) : undefined;
    if (end?.state === State.SUCCEEDED) {
      return outputOf(end.output, graph.result);
    }
    const ended =
      end === undefined
        ? await this.runs.alone(() => this.runAlone(saga, until, options.signal))
        : await this.waitUntil(saga.sagaId, until, options.signal); // the stream leaves out most of what an error tells
    return resultOf(ended, graph.result);
  }

  private async runAlone(saga: SagaSpec, until: number, signal: AbortSignal | undefined): Promise<SagaInfo> {
    const left = Math.max(0, Math.min(WAIT_MAX, until - Date.now()));
    const request = { saga, timeout: durationOf(left), orNeedsOperator: true };
    const settings = { timeout: left + WAIT_MARGIN, signal };
    const first = found((await this.calls.call((client) => client.runSaga, request, settings)).saga);
    return isOver(first, true) ? first : this.waitUntil(saga.sagaId, until, signal);
  }

  private waitUntil(sagaId: string, until: number, signal: AbortSignal | undefined): Promise<SagaInfo> {
    const rest = until === Number.POSITIVE_INFINITY ? {} : { timeout: Math.max(0, until - Date.now()) };
    return this.wait(sagaId, { ...rest, signal });
  }
}

function specOf<P>(graph: Graph<P, unknown>, params: P, options: CreateOptions): SagaSpec {
  return {
    sagaId: options.sagaId === undefined || options.sagaId === "" ? newUuid7() : options.sagaId,
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
}
