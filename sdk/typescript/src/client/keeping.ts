/** Keeps one RunSagas stream open after another, for as long as a book has sagas outstanding. It owns the stream. */

import { status, type ClientDuplexStream, type StatusObject } from "@grpc/grpc-js";

import type { RunSagasRequest, RunSagasResponse } from "../gen/sagaline/v1/saga_service.js";
import { pause, stopped, type Calls } from "./calls.js";
import { CallStopped, CallTimeout, errorOfCall, ServerFault, Unavailable, type RpcError } from "./errors.js";
import type { RunBook, Told } from "./running.js";

/** A stream is opened anew after so many milliseconds, so that it too has a deadline; nobody notices. */
const STREAM_MS = 3_600_000;

/** A stream that a SEC ends before the sagas have ended is as good as broken. */
const EARLY = { code: status.UNAVAILABLE, details: "the stream ended before the sagas did" };

type Stream = ClientDuplexStream<RunSagasRequest, RunSagasResponse>;

export class RunStream {
  private readonly leaving = new AbortController();
  private stream: Stream | undefined;
  private writing = false;

  constructor(
    private readonly calls: Calls,
    readonly book: RunBook,
    private readonly tell: (told: Told) => void,
    /** Milliseconds for which streams may fail in a row. */
    private readonly patience: number,
  ) {}

  /** Resolves after `leave`; rejects with an `RpcError` when there is no use in another stream. */
  async keep(): Promise<void> {
    let failures = 0;
    let giveUpAt = 0;
    for (;;) {
      const before = this.book.progress;
      const error = await this.converse();
      if (this.leaving.signal.aborted) {
        return;
      }
      if (this.book.progress > before) {
        failures = 0;
      }
      if (failures === 0) {
        giveUpAt = Date.now() + this.patience;
      }
      failures += 1;
      const delay = error.retryDelay ?? this.calls.backoff(failures);
      if (!isPassing(error) || Date.now() + delay >= giveUpAt) {
        throw error;
      }
      this.calls.skip();
      await pause(delay, this.leaving.signal).catch(() => undefined); // given up: the next look tells
      if (this.leaving.signal.aborted) {
        return;
      }
      this.book.restart();
    }
  }

  /** The book may have something to send. What gathers while a frame is written makes up the next. */
  wake(): void {
    const stream = this.stream;
    if (stream === undefined || this.writing) {
      return;
    }
    const frame = this.book.nextFrame();
    if (frame !== undefined) {
      this.writing = true;
      stream.write(frame, () => {
        if (this.stream === stream) {
          this.writing = false;
          this.wake();
        }
      });
    }
  }

  /** Gives up the stream, and opens no other. */
  leave(): void {
    this.leaving.abort();
  }

  /** Uses one stream until it ends; resolves with the reason. */
  private converse(): Promise<RpcError> {
    return new Promise((resolve) => {
      const stream = this.calls.stream((client) => client.runSagas({ deadline: Date.now() + STREAM_MS }));
      const end = (error: RpcError): void => {
        if (this.stream === stream) {
          this.stream = undefined;
          this.leaving.signal.removeEventListener("abort", leave);
          stream.cancel();
          resolve(error);
        }
      };
      const leave = (): void => {
        end(stopped(this.leaving.signal));
      };
      this.leaving.signal.addEventListener("abort", leave);
      stream.on("data", (frame: RunSagasResponse) => {
        if (this.stream === stream) {
          this.book.receive(frame).forEach(this.tell);
          if (this.book.trouble !== undefined) {
            end(this.book.trouble);
          }
        }
      });
      stream.on("error", () => undefined); // its status follows
      stream.on("status", (said: StatusObject) => {
        end(errorOfCall(said.code === status.OK ? { ...said, ...EARLY } : said));
      });
      this.stream = stream;
      this.writing = false;
      this.wake();
    });
  }
}

/** Whether the next stream may go well. */
function isPassing(error: RpcError): boolean {
  // What breaks a stream under way, its own deadline included, carries no reason: those are the servers' words.
  const broke = error instanceof CallStopped || error instanceof CallTimeout || error instanceof ServerFault;
  return error instanceof Unavailable || error.retryDelay !== undefined || (broke && error.reason === "");
}
