/**
 * Rejections that their SEC may not have read. A rejection has no acknowledgement of its own: it is kept until the SEC
 * has sent back the nonce of a heartbeat that left with it or after it.
 */

import { Rejection, type InvocationRef, type RejectionReason } from "../../gen/sagaline/v1/worker_service.js";
import { keyOf, type OwnerOf } from "./attempts.js";
import { ITEM_OVERHEAD_BYTES } from "./limits.js";
import { Queue } from "./queue.js";

interface Rejected {
  readonly key: string;
  readonly ref: InvocationRef;
  /** Whose reading of it counts; "" if anybody's does, since that SEC is gone. */
  sec: string;
  readonly reason: RejectionReason;
}

interface Lane {
  readonly queued: Queue<Rejected>;
  /** Each with the nonce whose echo confirms it. */
  readonly written: Queue<{ nonce: number; item: Rejected }>;
}

export class Rejections {
  private readonly held = new Map<string, Rejected>();
  private readonly lanes = new Map<string, Lane>();

  constructor(private readonly countMax: number) {}

  get size(): number {
    return this.held.size;
  }

  has(key: string): boolean {
    return this.held.has(key);
  }

  /** Keep a rejection and queue it for its SEC. */
  add(ref: InvocationRef, sec: string, reason: RejectionReason): void {
    const item: Rejected = { key: keyOf(ref), ref, sec, reason };
    this.held.set(item.key, item);
    if (this.held.size > this.countMax) {
      for (const oldest of this.held.keys()) {
        this.held.delete(oldest);
        break;
      }
    }
    this.queue(item, sec);
  }

  /** The attempt was sent again: say again that it will not run here; to the owner, so that it counts. */
  repeat(key: string, sec: string, isOwner: boolean): void {
    const item = this.held.get(key);
    if (item === undefined) {
      return;
    }
    if (isOwner) {
      this.held.delete(key);
      this.add(item.ref, sec, item.reason);
    } else {
      this.queue(item, sec);
    }
  }

  /** Sagas have moved. */
  reassign(ownerOf: OwnerOf): void {
    for (const item of this.held.values()) {
      const moved = ownerOf(item.ref, item.sec);
      if (moved !== undefined && moved.sec !== "") {
        item.sec = moved.sec;
        this.queue(item, item.sec);
      }
    }
  }

  /** A new stream: queue every rejection of this SEC again, and those of SECs that are gone. */
  opened(sec: string): void {
    const own = [...this.held.values()].filter((item) => item.sec === sec || item.sec === "");
    this.lanes.set(sec, { queued: new Queue(own), written: new Queue() });
  }

  /** A SEC has no stream any more. */
  closed(sec: string): void {
    this.lanes.delete(sec);
  }

  /** Some SECs will not come back: for what was theirs it is enough that anybody has read it. */
  release(isGone: (sec: string) => boolean): void {
    for (const item of this.held.values()) {
      if (isGone(item.sec)) {
        item.sec = "";
      }
    }
  }

  hasQueued(sec: string): boolean {
    return (this.lanes.get(sec)?.queued.length ?? 0) > 0;
  }

  /** The rejections to write next. `nonce` is that of the heartbeat which leaves with them or after them. */
  take(sec: string, budget: number, nonce: number): { messages: Rejection[]; left: number } {
    const lane = this.lanes.get(sec);
    const messages: Rejection[] = [];
    let left = budget;
    for (let item = lane?.queued.peek(); lane !== undefined && item !== undefined; item = lane.queued.peek()) {
      const message: Rejection = { ref: item.ref, reason: item.reason };
      const size = Rejection.encode(message).finish().length + ITEM_OVERHEAD_BYTES;
      if (size > left) {
        break;
      }
      left -= size;
      lane.queued.shift();
      lane.written.push({ nonce, item });
      messages.push(message);
    }
    return { messages, left };
  }

  /** The SEC sent this nonce back: it has read everything that was written before. */
  confirm(sec: string, nonce: number): void {
    const written = this.lanes.get(sec)?.written;
    for (let next = written?.peek(); next !== undefined && next.nonce <= nonce; next = written?.peek()) {
      written?.shift();
      if ((next.item.sec === sec || next.item.sec === "") && this.held.get(next.item.key) === next.item) {
        this.held.delete(next.item.key);
      }
    }
  }

  /** The rejections of this SEC; undefined: of all. */
  *of(sec: string | undefined): Iterable<InvocationRef> {
    for (const item of this.held.values()) {
      if (sec === undefined || item.sec === sec) {
        yield item.ref;
      }
    }
  }

  private queue(item: Rejected, sec: string): void {
    let lane = this.lanes.get(sec);
    if (lane === undefined) {
      lane = { queued: new Queue(), written: new Queue() };
      this.lanes.set(sec, lane);
    }
    lane.queued.push(item);
    if (lane.queued.length > this.countMax) {
      lane.queued.shift();
    }
  }
}
