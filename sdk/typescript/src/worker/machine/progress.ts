/** Progress of running attempts: only the latest of each counts, and of each at most one is sent in a short time. */

import type { Payload } from "../../gen/sagaline/v1/payload.js";
import { Progress, type InvocationRef } from "../../gen/sagaline/v1/worker_service.js";
import { keyOf } from "./attempts.js";
import { ITEM_OVERHEAD_BYTES, PROGRESS_MS } from "./limits.js";
import { Queue } from "./queue.js";

interface Latest {
  readonly key: string;
  readonly ref: InvocationRef;
  sec: string;
  details: Payload | undefined;
  queued: boolean;
  writtenAt: number;
}

export class ProgressBox {
  private readonly latest = new Map<string, Latest>();
  private readonly waiting = new Map<string, number>();
  private readonly queues = new Map<string, Queue<Latest>>();

  /** Replace the progress of an attempt. Without details the last ones stand, and only its life is told. */
  report(ref: InvocationRef, sec: string, details: Payload | undefined, now: number): void {
    const key = keyOf(ref);
    let latest = this.latest.get(key);
    if (latest === undefined) {
      latest = { key, ref, sec, details: undefined, queued: false, writtenAt: Number.NEGATIVE_INFINITY };
      this.latest.set(key, latest);
    }
    latest.details = details ?? latest.details;
    if (latest.queued || this.waiting.has(key)) {
      return;
    }
    const due = latest.writtenAt + PROGRESS_MS;
    if (due <= now) {
      this.enqueue(latest);
    } else {
      this.waiting.set(key, due);
    }
  }

  /** Queue what has waited long enough. */
  wake(now: number): void {
    for (const [key, due] of [...this.waiting]) {
      if (due <= now) {
        this.waiting.delete(key);
        const latest = this.latest.get(key);
        if (latest !== undefined) {
          this.enqueue(latest);
        }
      }
    }
  }

  /** When `wake` has something to do. */
  nextWake(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.waiting.values());
  }

  /** The attempt ended: what it told last leaves no later than its result, and nothing follows. */
  end(key: string): void {
    const latest = this.latest.get(key);
    if (latest !== undefined) {
      this.latest.delete(key);
      if (this.waiting.delete(key)) {
        this.enqueue(latest);
      }
    }
  }

  /** A new stream: what was written on the old one may have been lost. */
  resendAll(sec: string): void {
    this.queues.set(sec, new Queue());
    for (const latest of this.latest.values()) {
      if (latest.sec === sec) {
        this.waiting.delete(latest.key);
        this.enqueue(latest);
      }
    }
  }

  /** Another SEC has the attempt from here on: it is told what the one before was. */
  assign(key: string, sec: string): void {
    const latest = this.latest.get(key);
    if (latest !== undefined && latest.sec !== sec) {
      latest.sec = sec;
      this.waiting.delete(key);
      this.enqueue(latest);
    }
  }

  /** A SEC has no stream any more; `resendAll` makes up for what is dropped here. */
  closed(sec: string): void {
    this.queues.delete(sec);
  }

  hasQueued(sec: string): boolean {
    const queue = this.queues.get(sec);
    for (let next = queue?.peek(); next !== undefined && next.sec !== sec; next = queue?.peek()) {
      queue?.shift();
    }
    return queue !== undefined && queue.length > 0;
  }

  /** What to write next, of at most `budget` bytes, and what is left of the budget. */
  take(sec: string, budget: number, now: number): { messages: Progress[]; left: number } {
    const messages: Progress[] = [];
    let left = budget;
    const queue = this.queues.get(sec);
    for (let next = queue?.peek(); next !== undefined; next = queue?.peek()) {
      if (next.sec === sec) {
        const message: Progress = { ref: next.ref, details: next.details };
        const size = Progress.encode(message).finish().length + ITEM_OVERHEAD_BYTES;
        if (size > left) {
          break;
        }
        left -= size;
        next.queued = false;
        next.writtenAt = now;
        messages.push(message);
      }
      queue?.shift();
    }
    return { messages, left };
  }

  private enqueue(latest: Latest): void {
    latest.queued = true;
    const queue = this.queues.get(latest.sec) ?? new Queue<Latest>();
    this.queues.set(latest.sec, queue);
    queue.push(latest);
  }
}
