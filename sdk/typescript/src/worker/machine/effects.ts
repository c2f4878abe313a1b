/**
 * What the worker's machine asks its shell to do, in the order in which it is to be done.
 *
 * The machine has no I/O, clock or randomness: it is fed with events and answers with these. Frames are not among them:
 * the writer pulls the next one when the stream is free for it, so that everything that has gathered meanwhile leaves
 * together and a lone item leaves at once.
 */

import type { Invocation, InvocationResult, SecSet } from "../../gen/sagaline/v1/worker_service.js";
import type { CancelReason } from "./attempts.js";

export type Level = "debug" | "info" | "warn" | "error";
export type Facts = Record<string, string | number | boolean>;

export type Effect =
  /** Run user code for these, each exactly once, and answer each with `finished` or `notStarted`. */
  | { type: "start"; attempts: { key: string; invocation: Invocation }[] }
  /** `startToClose`: since that is over. Tell user code why it is to end. It is still answered with `finished`. Twice, if an order follows an advice. */
  | { type: "stop"; key: string; reason: CancelReason; startToClose: boolean }
  | { type: "welcomed"; address: string; sec: string; refused: Map<string, string> }
  /** For the fleet; it does not reach the shell. */
  | { type: "members"; secs: SecSet }
  /**
   * End the stream, then say `ended`. With `halfClose` write what is queued, end only our half and wait for the SEC's;
   * else cancel the call.
   */
  | { type: "endStream"; address: string; why: string; halfClose: boolean }
  /** The session can do with a new stream from this time on. For the fleet, which says `connect`. */
  | { type: "reconnect"; address: string; at: number; freshChannel: boolean; failures: number }
  /** Open a stream to this address now; then say `opened`. */
  | { type: "connect"; address: string; freshChannel: boolean }
  /** Call ReportResults at this address, with a deadline; then say `called`. */
  | { type: "call"; address: string; results: InvocationResult[] }
  /** The session is over for good; `error` says why where nobody asked for it. */
  | { type: "closed"; address: string; error: string | undefined }
  /** Something a person may want to read, never a payload. */
  | { type: "note"; level: Level; event: string; facts: Facts };

export type EffectOf<T extends Effect["type"]> = Extract<Effect, { type: T }>;

/** Collects effects while one event is processed. */
export class Effects {
  private starts: { key: string; invocation: Invocation }[] = [];
  private others: Effect[] = [];

  /** All starts of one event become one effect, so that they cross to user code together. */
  start(key: string, invocation: Invocation): void {
    this.starts.push({ key, invocation });
  }

  add(effect: Effect): void {
    this.others.push(effect);
  }

  note(level: Level, event: string, facts: Facts): void {
    this.others.push({ type: "note", level, event, facts });
  }

  /** Everything since the last call; starts first, for a stop may follow the start that it is about. */
  take(): Effect[] {
    const taken = this.others;
    if (this.starts.length > 0) {
      taken.unshift({ type: "start", attempts: this.starts });
      this.starts = [];
    }
    this.others = [];
    return taken;
  }
}
