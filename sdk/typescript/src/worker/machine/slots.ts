/**
 * The attempts that are here, and the slots in which they run: what starts, what waits, what is refused, what stops. Of a
 * saga and node user code runs once at a time, whatever the side; of all of them never more than there are slots.
 */

import { RejectionReason } from "../../gen/sagaline/v1/worker_service.js";
import { millisOf } from "../../durations.js";
import { isAdvice, isNotEarlier, type Attempt, type CancelReason } from "./attempts.js";
import type { Effects } from "./effects.js";
import { Queue } from "./queue.js";
import type { Rejections } from "./rejections.js";

interface Pool {
  readonly slots: number;
  used: number;
  held: number;
  readonly line: Queue<Attempt>;
}

export class Slots {
  readonly attempts = new Map<string, Attempt>();
  /** By saga and node. */
  readonly running = new Map<string, Attempt>();
  /** By saga and node: what waits for a slot, or for an earlier attempt of the node to end. */
  readonly queued = new Map<string, Attempt>();
  private readonly pools: Map<string, Pool>;
  private readonly timed = new Set<Attempt>();
  private stopAt = Number.POSITIVE_INFINITY;

  constructor(
    slots: ReadonlyMap<string, number>,
    private readonly effects: Effects,
    private readonly rejections: Rejections,
  ) {
    this.pools = new Map(
      [...slots].map(([name, count]) => [name, { slots: count, used: 0, held: 0, line: new Queue() }]),
    );
  }

  /** Why an attempt that is new here is not taken; undefined: it is. `excess` is what may be held beyond the slots. */
  refusal(attempt: Attempt, excess: number): RejectionReason | undefined {
    const waiting = this.queued.get(attempt.place);
    const here = waiting ?? this.running.get(attempt.place);
    if (here !== undefined && isNotEarlier(here.ref, attempt.ref)) {
      return RejectionReason.STALE_EPOCH;
    }
    const pool = this.pool(attempt.pool);
    const replaced = waiting?.pool === attempt.pool ? 1 : 0;
    return pool.held - replaced >= pool.slots + excess ? RejectionReason.NO_CAPACITY : undefined;
  }

  /**
   * A later attempt of a node takes the place of one that waits, and waits for one that runs: the SEC has given the
   * earlier one up, but here it may still be having its effect.
   */
  take(attempt: Attempt, now: number): void {
    const waiting = this.queued.get(attempt.place);
    const running = this.running.get(attempt.place);
    if (waiting !== undefined) {
      this.reject(waiting, RejectionReason.NO_CAPACITY);
    }
    const pool = this.pool(attempt.pool);
    this.attempts.set(attempt.key, attempt);
    pool.held += 1;
    if (running !== undefined) {
      this.queued.set(attempt.place, attempt);
      this.stop(running, "superseded");
    } else if (pool.used < pool.slots) {
      this.start(attempt, pool, now);
    } else {
      this.queued.set(attempt.place, attempt);
      pool.line.push(attempt);
    }
  }

  /** Ask a running attempt to end. The first order counts, and comes after any advice. */
  stop(attempt: Attempt, reason: CancelReason, startToClose = false): void {
    const given = attempt.cancelReason;
    if (given === undefined || (isAdvice(given) && !isAdvice(reason))) {
      attempt.cancelReason = reason;
      this.effects.add({ type: "stop", key: attempt.key, reason, startToClose });
    }
  }

  /** Only of an attempt that has not started: that is what the word promises. */
  reject(attempt: Attempt, reason: RejectionReason): void {
    this.queued.delete(attempt.place);
    this.attempts.delete(attempt.key);
    attempt.state = "ended";
    const pool = this.pool(attempt.pool);
    pool.held -= 1;
    pool.line.remove(attempt);
    this.rejections.add(attempt.ref, attempt.sec, reason);
  }

  /** User code has ended, or never began. */
  drop(attempt: Attempt): void {
    attempt.state = "ended";
    this.attempts.delete(attempt.key);
    this.running.delete(attempt.place);
    this.timed.delete(attempt);
    const pool = this.pool(attempt.pool);
    pool.used -= 1;
    pool.held -= 1;
  }

  /** Use what an end has freed: the node, for a later attempt that waits for it, and the slot. */
  advance(ended: Attempt, succeeded: boolean, now: number): void {
    const waiting = this.queued.get(ended.place);
    if (waiting !== undefined && succeeded && waiting.ref.kind === ended.ref.kind) {
      // The node's answer is known, and goes to the SEC before this: running it again would gain nothing.
      this.reject(waiting, RejectionReason.NO_CAPACITY);
    } else if (waiting !== undefined) {
      const pool = this.pool(waiting.pool);
      pool.line.push(waiting);
      this.fill(pool, now);
    }
    this.fill(this.pool(ended.pool), now);
  }

  /** Ask what has run for too long to end. */
  tick(now: number): void {
    if (now < this.stopAt) {
      return;
    }
    this.stopAt = Number.POSITIVE_INFINITY;
    for (const attempt of [...this.timed]) {
      if (attempt.stopAt <= now) {
        this.timed.delete(attempt);
        this.stop(attempt, "timed_out", true);
      } else {
        this.stopAt = Math.min(this.stopAt, attempt.stopAt);
      }
    }
  }

  /** When `tick` has something to do. May be too early, never too late. */
  nextDeadline(): number {
    return this.stopAt;
  }

  /** How many attempts of a SEC and pool are here. */
  count(sec: string, pool: string): number {
    let count = 0;
    for (const attempt of this.attempts.values()) {
      count += attempt.sec === sec && attempt.pool === pool ? 1 : 0;
    }
    return count;
  }

  private start(attempt: Attempt, pool: Pool, now: number): void {
    attempt.state = "running";
    this.running.set(attempt.place, attempt);
    pool.used += 1;
    if (attempt.invocation.startToClose !== undefined) {
      attempt.stopAt = now + millisOf(attempt.invocation.startToClose);
      this.timed.add(attempt);
      this.stopAt = Math.min(this.stopAt, attempt.stopAt);
    }
    this.effects.start(attempt.key, attempt.invocation);
  }

  private fill(pool: Pool, now: number): void {
    while (pool.used < pool.slots) {
      const attempt = pool.line.shift();
      if (attempt === undefined) {
        return;
      }
      this.queued.delete(attempt.place);
      this.start(attempt, pool, now);
    }
  }

  private pool(name: string): Pool {
    const pool = this.pools.get(name);
    if (pool === undefined) {
      throw new Error(`no slot pool ${JSON.stringify(name)}`);
    }
    return pool;
  }
}
