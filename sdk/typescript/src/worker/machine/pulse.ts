/**
 * The pulse of one stream. Three kinds of silence mean that it is dead: no frame comes; frames come, but our heartbeats
 * are not echoed, so the SEC does not read; and a heartbeat can't even be written.
 */

import type { Heartbeat } from "../../gen/sagaline/v1/worker_service.js";
import { durationOf } from "../../durations.js";
import { DEFAULT_TERMS, type Terms } from "./limits.js";
import type { Streams } from "./streams.js";

export class Pulse {
  /** A heartbeat is to leave with the next frame. */
  due = false;
  private terms: Terms = DEFAULT_TERMS;
  private beatAt = 0;
  private dueSince = 0;
  private heardAt = 0;
  private unechoed: { nonce: number; at: number }[] = [];
  private lagMax = 0;

  constructor(private readonly streams: Streams) {}

  /** A stream is open, under these terms. */
  start(now: number, terms: Terms): void {
    this.terms = terms;
    this.due = false;
    this.beatAt = now + terms.heartbeatInterval;
    this.heardAt = now;
    this.unechoed = [];
  }

  /** Any frame came. */
  heard(now: number): void {
    this.heardAt = now;
  }

  /** The SEC has read everything up to the heartbeat of this nonce. */
  echoed(nonce: number): void {
    this.unechoed = this.unechoed.filter((beat) => beat.nonce > nonce);
  }

  /** Let the next heartbeat leave now, unless one is under way: its echo is waited for. */
  hurry(now: number): void {
    if (!this.due && this.unechoed.length === 0) {
      this.due = true;
      this.dueSince = now;
    }
  }

  /** The heartbeat that is due; it leaves now. */
  beat(now: number, held: number, unackedBytes: number): Heartbeat {
    const nonce = this.streams.nextNonce();
    const lag = this.lagMax;
    this.lagMax = 0;
    this.due = false;
    this.beatAt = now + this.terms.heartbeatInterval;
    this.unechoed.push({ nonce, at: now });
    return {
      nonce: BigInt(nonce),
      inFlightCount: held,
      unackedResultBytes: BigInt(unackedBytes),
      maxLoopLag: durationOf(lag),
    };
  }

  /** For so long nothing could have been read or written here: it doesn't count against the SEC. */
  stoodStill(lag: number): void {
    if (lag > 0) {
      this.lagMax = Math.max(lag, this.lagMax);
      this.heardAt += lag;
      this.dueSince += lag;
      this.unechoed = this.unechoed.map(({ nonce, at }) => ({ nonce, at: at + lag }));
    }
  }

  /** Make a heartbeat due; or say why the stream is dead. */
  tick(now: number): string | undefined {
    if (now >= this.beatAt && !this.due) {
      this.due = true;
      this.dueSince = now;
    }
    const timeout = this.terms.heartbeatTimeout;
    const seconds = String(timeout / 1_000);
    if (now >= this.heardAt + timeout) {
      return `no frame for ${seconds} s`;
    }
    const oldest = this.unechoed[0];
    if (oldest !== undefined && now >= oldest.at + timeout) {
      return `no echo of a heartbeat for ${seconds} s`;
    }
    return this.due && now >= this.dueSince + timeout ? `nothing could be written for ${seconds} s` : undefined;
  }

  /** When `tick` has something to do. */
  nextDeadline(): number {
    const timeout = this.terms.heartbeatTimeout;
    const oldest = this.unechoed[0];
    return Math.min(
      this.heardAt + timeout,
      this.due ? this.dueSince + timeout : this.beatAt,
      oldest === undefined ? Number.POSITIVE_INFINITY : oldest.at + timeout,
    );
  }
}
