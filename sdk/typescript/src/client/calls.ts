/** Calls to one of several SECs: the next address is tried where one can't be reached, until the time is over. */

import { credentials, Metadata, type CallOptions, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";

import { splitAddresses } from "../addresses.js";
import { SagaServiceClient } from "../gen/sagaline/v1/saga_service.js";
import type { TlsOptions } from "../worker/io/messages.js";
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
const BACKOFF_MIN = 50;
const BACKOFF_MAX = 2_000;

export class Calls {
  private readonly clients: SagaServiceClient[];
  private turn = 0;

  constructor(
    address: string | readonly string[],
    tls: TlsOptions | undefined,
    private readonly token: string | undefined,
  ) {
    const buffer = (given: Uint8Array | undefined): Buffer | null => (given === undefined ? null : Buffer.from(given));
    const security =
      tls === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(buffer(tls.rootCerts), buffer(tls.privateKey), buffer(tls.certChain));
    this.clients = splitAddresses(address).map((one) => new SagaServiceClient(one, security, CHANNEL_OPTIONS));
    this.turn = Math.floor(Math.random() * this.clients.length);
  }

  /** Every call may be repeated: creation has an id, and the others done twice are done once. */
  async call<Request, Response>(
    pick: (client: SagaServiceClient) => Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    const deadline = Date.now() + (settings.timeout ?? 30_000);
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.once(pick, request, deadline, settings.signal);
      } catch (error) {
        const left = deadline - Date.now();
        if (!(error instanceof Unavailable) || left <= 0) {
          throw error;
        }
        this.turn += 1;
        // A round over all addresses goes without waiting.
        const round = Math.floor((failures + 1) / this.clients.length);
        const ceiling = round === 0 ? 0 : Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** Math.min(round, 10));
        await pause(Math.min(left, error.retryDelay ?? Math.random() * ceiling), settings.signal);
      }
    }
  }

  /** A stream of answers, from whichever SEC is next. */
  stream<Response>(
    open: (client: SagaServiceClient, metadata: Metadata) => ClientReadableStream<Response>,
  ): ClientReadableStream<Response> {
    return open(this.client(), this.metadata());
  }

  /** The next call goes to the next SEC. */
  skip(): void {
    this.turn += 1;
  }

  close(): void {
    for (const client of this.clients) {
      client.close();
    }
  }

  private once<Request, Response>(
    pick: (client: SagaServiceClient) => Method<Request, Response>,
    request: Request,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(stopped(signal));
        return;
      }
      const client = this.client();
      const call = pick(client).call(client, request, this.metadata(), { deadline }, (error, response) => {
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

  private client(): SagaServiceClient {
    const client = this.clients[this.turn % this.clients.length];
    if (client === undefined) {
      throw new Error("a client has at least one address");
    }
    return client;
  }

  private metadata(): Metadata {
    const metadata = new Metadata();
    if (this.token !== undefined) {
      metadata.set("authorization", `Bearer ${this.token}`);
    }
    return metadata;
  }
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
