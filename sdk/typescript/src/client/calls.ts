/** Calls to one of several SECs: the next address is tried where one can't be reached, until the time is over. */

import { Metadata, type CallOptions, type ChannelCredentials, type ServiceError } from "@grpc/grpc-js";

import { splitAddresses } from "../addresses.js";
import { AdminServiceClient } from "../gen/sagaline/v1/admin_service.js";
import { SagaServiceClient } from "../gen/sagaline/v1/saga_service.js";
import { CallStopped, errorOfCall, Unavailable, type RpcError } from "./errors.js";

export interface CallSettings {
  /** Milliseconds for the whole call, repetitions included. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
type Method<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: Callback<Response>,
) => { cancel(): void };

const CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": -1,
};
/** What one SEC serves. */
interface Services {
  readonly sagas: SagaServiceClient;
  readonly admin: AdminServiceClient;
}

/** How long a call that is sent once waits for a connection before it turns to the next address. */
const REACH_MS = 1_000;
const BACKOFF_MIN = 50;
const BACKOFF_MAX = 2_000;

/** Milliseconds for a call, repetitions included, where nothing else is said. */
const TIMEOUT_MS = 30_000;

export class Calls {
  private readonly clients: Services[];
  private turn = 0;

  constructor(address: string | readonly string[], security: ChannelCredentials) {
    this.clients = splitAddresses(address).map((one) => ({
      sagas: new SagaServiceClient(one, security, CHANNEL_OPTIONS),
      admin: new AdminServiceClient(one, security, CHANNEL_OPTIONS),
    }));
    this.turn = Math.floor(Math.random() * this.clients.length);
  }

  /** A call that may be repeated: what it does twice is done once. */
  async call<Request, Response>(
    pick: (client: SagaServiceClient) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    return this.repeated(({ sagas }) => pick(sagas).bind(sagas), request, settings);
  }

  /** The same of what operators use. */
  async admin<Request, Response>(
    pick: (client: AdminServiceClient) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    return this.repeated(({ admin }) => pick(admin).bind(admin), request, settings);
  }

  /** A call that must not be done twice: sent once, to a SEC to which there is a connection. */
  async callOnce<Request, Response>(
    pick: (client: SagaServiceClient) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    return this.sentOnce(({ sagas }) => pick(sagas).bind(sagas), request, settings);
  }

  async adminOnce<Request, Response>(
    pick: (client: AdminServiceClient) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    return this.sentOnce(({ admin }) => pick(admin).bind(admin), request, settings);
  }

  private async repeated<Request, Response>(
    method: (services: Services) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    const deadline = Date.now() + (settings.timeout ?? TIMEOUT_MS);
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.once(method(this.client()), request, deadline, settings.signal);
      } catch (error) {
        const left = deadline - Date.now();
        if (!(error instanceof Unavailable) || left <= 0) {
          throw error;
        }
        this.turn += 1;
        await pause(Math.min(left, error.retryDelay ?? this.backoff(failures + 1)), settings.signal);
      }
    }
  }

  private async sentOnce<Request, Response>(
    method: (services: Services) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    const deadline = Date.now() + (settings.timeout ?? TIMEOUT_MS);
    while (Date.now() < deadline && !(await reached(this.client().sagas, Math.min(deadline, Date.now() + REACH_MS)))) {
      if (settings.signal?.aborted === true) {
        throw stopped(settings.signal);
      }
      this.turn += 1;
    }
    return this.once(method(this.client()), request, deadline, settings.signal);
  }

  /** A stream, with whichever SEC is next. */
  stream<Stream>(open: (client: SagaServiceClient) => Stream): Stream {
    return open(this.client().sagas);
  }

  /** The next call goes to the next SEC. */
  skip(): void {
    this.turn += 1;
  }

  /** Milliseconds to wait after so many failures in a row; a round over all addresses goes without waiting. */
  backoff(failures: number): number {
    const round = Math.floor(failures / this.clients.length);
    return round === 0 ? 0 : Math.random() * Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** Math.min(round, 10));
  }

  close(): void {
    for (const { sagas, admin } of this.clients) {
      sagas.close();
      admin.close();
    }
  }

  private once<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(stopped(signal));
        return;
      }
      const call = method(request, new Metadata(), { deadline }, (error, response) => {
        signal?.removeEventListener("abort", stop);
        if (error === null) {
          resolve(response);
        } else {
          reject(signal?.aborted === true ? stopped(signal) : errorOfCall(error));
        }
      });
      const stop = (): void => {
        call.cancel();
      };
      signal?.addEventListener("abort", stop);
    });
  }

  private client(): Services {
    const client = this.clients[this.turn % this.clients.length];
    if (client === undefined) {
      throw new Error("a client has at least one address");
    }
    return client;
  }
}

/** Whether there is a connection before the deadline. */
function reached(client: SagaServiceClient, deadline: number): Promise<boolean> {
  return new Promise((resolve) => {
    client.waitForReady(deadline, (error) => {
      resolve(error === undefined);
    });
  });
}

export function stopped(signal: AbortSignal): RpcError {
  const error = new CallStopped("the call was given up on this side", {
    status: "CANCELLED",
    reason: "",
    problems: [],
    retryDelay: undefined,
  });
  error.cause = signal.reason;
  return error;
}

/** Waits; rejects at once when given up. */
export function pause(millis: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(stopped(signal));
      return;
    }
    const stop = (): void => {
      clearTimeout(timer);
      if (signal !== undefined) {
        reject(stopped(signal));
      }
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, millis);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
