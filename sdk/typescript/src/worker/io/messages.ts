/**
 * What crosses between the thread that holds the streams and the one that runs user code. Everything is plain data; what
 * gathers meanwhile crosses together.
 */

import type { Invocation, Hello } from "../../gen/sagaline/v1/worker_service.js";
import type { Payload } from "../../gen/sagaline/v1/payload.js";
import type { TlsOptions } from "../../security.js";
import type { CancelReason } from "../machine/attempts.js";
import type { Facts, Level } from "../machine/effects.js";
import type { Outcome } from "../machine/holdings.js";
import type { MessagePort } from "node:worker_threads";

/** What the I/O thread begins with. */
export interface Setup {
  readonly port: MessagePort;
  readonly hello: Hello;
  readonly slots: ReadonlyMap<string, number>;
  /** Slot pools by action, version and side, each as `servedKey` makes it. */
  readonly served: ReadonlyMap<string, string>;
  readonly addresses: readonly string[];
  readonly tls: TlsOptions | undefined;
  readonly token: string | undefined;
  /** The token is made in the other thread, which has to be asked for it each time. */
  readonly asksForToken: boolean;
}

export function servedKey(action: string, version: string, kind: number): string {
  return `${action}\n${version}\n${String(kind)}`;
}

/** An attempt and its outcome; undefined: it was never handed to user code, and never will be. */
export interface End {
  readonly key: string;
  readonly outcome: Outcome | undefined;
}

/** The answer to a wish for a token. */
export type TokenMade = { type: "token" } & ({ token: string } | { problem: string });

export type ToIo =
  | TokenMade
  | { type: "ends"; ends: End[] }
  | { type: "progress"; key: string; details: Payload | undefined }
  | { type: "drain"; timeout: number };

export type FromIo =
  | { type: "start"; attempts: { key: string; invocation: Invocation }[] }
  | { type: "stop"; key: string; reason: CancelReason; startToClose: boolean }
  | { type: "welcomed"; address: string; sec: string; refused: Map<string, string> }
  | { type: "connected"; connected: boolean }
  | { type: "tokenWanted" }
  | { type: "note"; level: Level; event: string; facts: Facts }
  | { type: "ended"; error: string | undefined; leftRunning: string[]; unacked: number };
