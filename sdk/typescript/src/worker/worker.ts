/** The worker as users see it: one process that runs actions for SECs. */

import { hostname } from "node:os";
import { MessageChannel, receiveMessageOnPort, Worker as Thread, type MessagePort } from "node:worker_threads";

import type { AnyAction } from "../actions.js";
import { splitAddresses } from "../addresses.js";
import { DefinitionError, WorkerError } from "../errors.js";
import type { Hello } from "../gen/sagaline/v1/worker_service.js";
import { newUuid7 } from "../ids.js";
import { checkToken, type TlsOptions, type Token } from "../security.js";
import { VERSION } from "../version.js";
import { Executor } from "./executor.js";
import type { FromIo, Setup, ToIo } from "./io/messages.js";
import { STDERR, type Logger } from "./logger.js";
import { PROTOCOL_VERSION, SLOTS_MAX } from "./machine/limits.js";
import { checkedHello, served, type Served } from "./served.js";

export interface WorkerOptions {
  /** What it serves; a name may come in several versions. */
  readonly actions: readonly AnyAction[];
  /** Attempts that run at the same time: a number, or numbers by slot pool. Absent: 100. */
  readonly slots?: number | Readonly<Record<string, number>>;
  /** How long a drain lets running attempts go on before they are cancelled, in milliseconds. Absent: 25,000. */
  readonly drainTimeout?: number;
  /** Name for people. Absent: host and process id. */
  readonly identity?: string;
  /** Build of your code, for people and rollouts. */
  readonly buildId?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Absent: plain text, for loopback and trusted networks. */
  readonly tls?: TlsOptions;
  /**
   * Bearer token of every stream and call, where SECs know parties by token; needs `tls`. A function runs on the event loop
   * of the thread that called `run`: while an action blocks that, no stream can be opened.
   */
  readonly token?: Token;
  /** Send the stacks of unexpected errors along; they are stored in the log. */
  readonly sendStacks?: boolean;
  /** Absent: lines of JSON on stderr. */
  readonly logger?: Logger;
}

export interface RunOptions {
  /** Let SIGTERM and SIGINT drain, and a second one stop at once. Absent: true. */
  readonly handleSignals?: boolean;
  /** Drains when aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Serves actions to SECs: connects to each, runs what it is sent, and reconnects for ever.
 *
 * ```ts
 * const worker = new Worker("localhost:7070", { actions: [charge, reserve], slots: 50 });
 * await worker.run();
 * ```
 *
 * One address is enough to begin with: the SEC there tells where the others are. Actions run on the event loop of the thread
 * that called `run`. The connection has a thread of its own, so an action that blocks the event loop delays other actions,
 * but not heartbeats.
 */
export class Worker {
  /** New for each instance. */
  readonly workerId = newUuid7();
  private readonly addresses: string[];
  private readonly slots: ReadonlyMap<string, number>;
  private readonly served: Served;
  private readonly hello: Hello;
  private readonly logger: Logger;
  private readonly drainTimeout: number;
  private readonly refusals = new Map<string, Map<string, string>>();
  private port: MessagePort | undefined;
  private isConnected = false;
  private started = false;
  private drainEarly: number | undefined;
  /** Taken while user code blocked the event loop. */
  private readonly late: FromIo[] = [];
  private lateTimer: NodeJS.Immediate | undefined;
  private resolveReady: () => void = () => undefined;
  /** Resolved when a SEC has welcomed the worker for the first time. */
  readonly ready = new Promise<void>((resolve) => {
    this.resolveReady = resolve;
  });

  constructor(
    address: string | readonly string[],
    private readonly options: WorkerOptions,
  ) {
    this.addresses = splitAddresses(address);
    checkToken(options.tls, options.token);
    this.slots = checkedSlots(options.slots ?? 100);
    this.served = served(options.actions, this.slots);
    this.logger = options.logger ?? STDERR;
    this.drainTimeout = options.drainTimeout ?? 25_000;
    this.hello = checkedHello({
      protocolVersion: PROTOCOL_VERSION,
      workerId: this.workerId,
      streamEpoch: 0n,
      identity: options.identity ?? `${hostname()}/${String(process.pid)}`,
      buildId: options.buildId ?? "",
      sdk: `sagaline-typescript/${VERSION}`,
      actions: this.served.specs,
      capacity: undefined,
      inFlight: undefined,
      capabilities: [],
      labels: new Map(Object.entries(options.labels ?? {})),
    });
  }

  /** Whether a session with any SEC is open at this moment: what a readiness probe asks. */
  get connected(): boolean {
    return this.isConnected;
  }

  /** Actions that a SEC did not accept at its last welcome, with the reason. They get no work from it. */
  get refusedActions(): ReadonlyMap<string, string> {
    return new Map([...this.refusals.values()].flatMap((refused) => [...refused]));
  }

  /** Runs until drained; once for each worker. Rejects with `WorkerError` if it cannot go on. */
  async run(options: RunOptions = {}): Promise<void> {
    if (this.started) {
      throw new WorkerError("this worker was run before: make another one");
    }
    this.started = true;
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const setup: Setup = {
      port: port2,
      hello: this.hello,
      slots: this.slots,
      served: this.served.pools,
      // Many workers with the same list should not all begin with the same SEC.
      addresses: shuffled(this.addresses),
      tls: this.options.tls,
      token: typeof this.options.token === "string" ? this.options.token : undefined,
      asksForToken: typeof this.options.token === "function",
    };
    const thread = new Thread(new URL("./io/thread.js", import.meta.url), {
      workerData: setup,
      transferList: [port2],
      name: "sagaline-io",
    });
    const stopListening = this.listen(options);
    try {
      await this.serve(thread, port1);
    } finally {
      stopListening();
      port1.close();
      await thread.terminate();
    }
  }

  /**
   * Begin to leave: `run` resolves when what runs has ended and is acknowledged. What still runs after the timeout, in
   * milliseconds, is cancelled. Called again it can only shorten the time.
   */
  drain(timeout = this.drainTimeout): void {
    if (this.port === undefined) {
      this.drainEarly = Math.min(timeout, this.drainEarly ?? timeout);
    } else {
      this.send({ type: "drain", timeout });
    }
  }

  private serve(thread: Thread, port: MessagePort): Promise<void> {
    return new Promise((resolve, reject) => {
      const executor = new Executor({
        actions: this.served.actions,
        post: (message) => {
          this.send(message);
        },
        poll: () => {
          this.poll(port, executor, handle);
        },
        logger: this.logger,
        sendStacks: this.options.sendStacks ?? false,
      });
      const ended = ({ error, leftRunning, unacked }: Extract<FromIo, { type: "ended" }>): void => {
        for (const attempt of leftRunning) {
          this.logger.error("left behind: it still runs, so its outcome counts as unknown", { attempt });
        }
        if (unacked > 0) {
          this.logger.error("left behind: results that no SEC has acknowledged", { count: unacked });
        }
        if (error === undefined) {
          resolve();
        } else {
          reject(new WorkerError(error));
        }
      };
      const handle = (message: FromIo): void => {
        this.receive(message, executor, ended);
      };
      port.on("message", (message: FromIo) => {
        // What was taken while the loop was blocked came first.
        for (const later of this.late.splice(0)) {
          handle(later);
        }
        handle(message);
      });
      thread.on("error", (error) => {
        reject(new WorkerError("the worker's I/O thread broke down: this is a fault of the SDK", { cause: error }));
      });
      thread.on("exit", () => {
        // That it has ended is often known before its last words have been read.
        for (const later of this.late.splice(0)) {
          handle(later);
        }
        for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
          handle(got.message as FromIo);
        }
        reject(new WorkerError("the worker's I/O thread ended"));
      });
      if (this.drainEarly !== undefined) {
        this.drain(this.drainEarly);
      }
    });
  }

  private receive(
    message: FromIo,
    executor: Executor,
    ended: (message: Extract<FromIo, { type: "ended" }>) => void,
  ): void {
    switch (message.type) {
      case "start":
        executor.start(message.attempts);
        break;
      case "stop":
        executor.stop(message.key, message.reason, message.startToClose);
        break;
      case "welcomed":
        this.welcomed(message);
        break;
      case "connected":
        this.isConnected = message.connected;
        break;
      case "tokenWanted":
        void this.sendToken();
        break;
      case "note":
        this.logger[message.level](message.event, message.facts);
        break;
      case "ended":
        ended(message);
        break;
    }
  }

  /** For user code that does not yield: wishes to stop are heeded at once, and the rest when the event loop is back. */
  private poll(port: MessagePort, executor: Executor, handle: (message: FromIo) => void): void {
    for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
      const message = got.message as FromIo;
      if (message.type !== "stop" || !executor.stop(message.key, message.reason, message.startToClose)) {
        this.late.push(message);
      }
    }
    if (this.late.length > 0 && this.lateTimer === undefined) {
      this.lateTimer = setImmediate(() => {
        this.lateTimer = undefined;
        for (const later of this.late.splice(0)) {
          handle(later);
        }
      });
    }
  }

  private welcomed({ address, sec, refused }: Extract<FromIo, { type: "welcomed" }>): void {
    this.logger.info("welcomed by a SEC", { sec, address, workerId: this.workerId });
    for (const [action, reason] of refused) {
      this.logger.error("the SEC refuses an action, which gets no work there", { sec, action, reason });
    }
    this.refusals.set(sec, refused);
    this.resolveReady();
  }

  /** Never rejects: what the user's function throws is the answer. */
  private async sendToken(): Promise<void> {
    const { token } = this.options;
    try {
      this.send({ type: "token", token: typeof token === "function" ? await token() : (token ?? "") });
    } catch (error) {
      this.send({ type: "token", problem: error instanceof Error ? error.message : String(error) });
    }
  }

  private send(message: ToIo): void {
    this.port?.postMessage(message);
  }

  /** Node delivers signals on the event loop: while an action blocks it, they wait. */
  private listen(options: RunOptions): () => void {
    let seen = 0;
    const onSignal = (name: NodeJS.Signals): void => {
      seen += 1;
      this.logger.warn(seen > 1 ? "stopping now" : "draining", { signal: name });
      this.drain(seen > 1 ? 0 : this.drainTimeout);
    };
    const onAbort = (): void => {
      this.drain();
    };
    const signals: NodeJS.Signals[] = (options.handleSignals ?? true) ? ["SIGTERM", "SIGINT"] : [];
    for (const name of signals) {
      process.on(name, onSignal);
    }
    if (options.signal?.aborted === true) {
      onAbort();
    }
    options.signal?.addEventListener("abort", onAbort);
    return () => {
      for (const name of signals) {
        process.off(name, onSignal);
      }
      options.signal?.removeEventListener("abort", onAbort);
    };
  }
}

function checkedSlots(given: number | Readonly<Record<string, number>>): Map<string, number> {
  const slots = new Map(typeof given === "number" ? [["", given]] : Object.entries(given));
  if (slots.size === 0) {
    throw new DefinitionError("a worker needs slots: give a number, or numbers by pool");
  }
  for (const [pool, count] of slots) {
    if (!Number.isInteger(count) || count < 1 || count > SLOTS_MAX) {
      throw new DefinitionError(`slots of pool ${JSON.stringify(pool)}: give 1 to ${String(SLOTS_MAX)}`);
    }
  }
  return slots;
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}
