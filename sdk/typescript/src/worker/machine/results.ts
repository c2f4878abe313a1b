/**
 * Results that no SEC has finally acknowledged, and where each of them goes next.
 *
 * A result is kept until its final acknowledgement, which a SEC gives only when it is durable. It is worth the same on
 * any SEC, and only the saga's owner can take it. So each has an *owner*, the SEC that sent or adopted the attempt last or
 * that another one named, and a *lane*, where it stands in a queue or was written: the owner's stream, a call to the
 * owner's address, or the stream of any SEC, which answers with the owner.
 */

import {
  InvocationResult,
  ResultStatus,
  type InvocationRef,
  type ResultAck,
  type Sec,
} from "../../gen/sagaline/v1/worker_service.js";
import { millisOf } from "../../durations.js";
import { keyOf, type OwnerOf } from "./attempts.js";
import {
  ASTRAY_MS,
  CALL_RESULTS_MAX,
  FRAME_BYTES,
  ITEM_OVERHEAD_BYTES,
  RESUME_SHARE,
  RETRY_MS,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
  searchMillis,
  UNACKED_RESULTS_MAX,
} from "./limits.js";
import { Queue } from "./queue.js";
import { CALL, Routes } from "./routes.js";

/** Statuses after which no SEC needs the result any more. */
const FINAL: ReadonlySet<ResultStatus> = new Set([
  ResultStatus.RECORDED,
  ResultStatus.DUPLICATE,
  ResultStatus.SUPERSEDED,
  ResultStatus.NOT_FOUND,
  ResultStatus.INVALID,
]);

interface Unacked {
  readonly key: string;
  readonly ref: InvocationRef;
  /** The SEC that is to take it; "" if nobody knows. */
  owner: string;
  message: InvocationResult;
  size: number;
  lane: string;
  /** `queued` in its lane, `written` and not answered, `parked` until a time, or `stranded`: no stream is open. */
  sending: "queued" | "written" | "parked" | "stranded";
  until: number;
  /** How often a SEC said that it is not the owner, since we believed to know. */
  redirects: number;
}

export class Results {
  /** True from the moment a bound is passed until both are well below. */
  full = false;
  bytes = 0;
  readonly routes = new Routes();
  private readonly held = new Map<string, Unacked>();
  private readonly lanes = new Map<string, Queue<Unacked>>();
  private readonly parked = new Set<Unacked>();
  private wakeAt = Number.POSITIVE_INFINITY;
  /** Addresses to call: results are queued for them. */
  private readonly calls = new Set<string>();

  constructor(
    private readonly bytesMax: number,
    private readonly countMax: number,
  ) {}

  get size(): number {
    return this.held.size;
  }

  has(key: string): boolean {
    return this.held.has(key);
  }

  /** Keep a result, whose encoding has `size` bytes, for its SEC. */
  add(sec: string, message: InvocationResult, size: number, now: number): void {
    const ref = message.ref;
    if (ref === undefined) {
      return;
    }
    const key = keyOf(ref);
    const item: Unacked = {
      key,
      ref,
      owner: sec,
      message,
      size: size + ITEM_OVERHEAD_BYTES,
      lane: "",
      sending: "stranded",
      until: 0,
      redirects: 0,
    };
    this.held.set(key, item);
    this.bytes += item.size;
    this.judge();
    this.sendToOwner(item, now);
  }

  /** Say something else instead, where `change` gives another message. */
  replace(change: (message: InvocationResult) => InvocationResult | undefined): void {
    for (const item of this.held.values()) {
      const message = change(item.message);
      if (message !== undefined) {
        this.bytes -= item.size;
        item.message = message;
        item.size = InvocationResult.encode(message).finish().length + ITEM_OVERHEAD_BYTES;
        this.bytes += item.size;
      }
    }
  }

  /** The results of this SEC; undefined: of all. */
  *of(sec: string | undefined): Iterable<InvocationRef> {
    for (const item of this.held.values()) {
      if (sec === undefined || item.owner === sec || item.lane === sec) {
        yield item.ref;
      }
    }
  }

  /**
   * The fate of a result, told on a lane. Returns whether it is forgotten because of that. A status that is not known here
   * keeps it: forgetting could lose it.
   */
  acknowledge(ack: ResultAck, lane: string, now: number): boolean {
    if (ack.ref === undefined) {
      return false;
    }
    const item = this.held.get(keyOf(ack.ref));
    if (item === undefined) {
      return false;
    }
    if (FINAL.has(ack.status)) {
      this.held.delete(item.key);
      this.parked.delete(item);
      this.bytes -= item.size;
      this.judge();
      return true;
    }
    if (item.lane !== lane || item.sending !== "written") {
      return false; // it has been queued again since, or goes elsewhere by now
    }
    if (ack.status === ResultStatus.NOT_OWNER) {
      this.redirect(item, ack.owner, now);
    } else {
      const delay = ack.retryDelay === undefined ? RETRY_MS : millisOf(ack.retryDelay);
      this.park(item, now + Math.min(Math.max(delay, RETRY_MS_MIN), RETRY_MS_MAX));
    }
    return false;
  }

  /** A SEC that owns the saga, or is to own it, has it from here on. */
  assign(key: string, sec: string, epoch: bigint, now: number): void {
    const item = this.held.get(key);
    if (item === undefined) {
      return;
    }
    if (epoch > item.message.epoch) {
      item.message = { ...item.message, epoch };
    }
    item.owner = sec;
    item.redirects = 0;
    if (item.sending !== "queued" || item.lane !== sec) {
      this.sendToOwner(item, now);
    }
  }

  /** Sagas have moved. */
  reassign(ownerOf: OwnerOf, now: number): void {
    for (const item of this.held.values()) {
      const moved = ownerOf(item.ref, item.owner);
      if (moved !== undefined) {
        this.assign(item.key, moved.sec, moved.epoch, now);
      }
    }
  }

  /** A SEC has a new stream: queue all that is its own again, oldest first. */
  opened(sec: string, now: number): void {
    this.routes.opened(sec);
    this.lanes.set(sec, new Queue());
    for (const item of this.held.values()) {
      if (item.owner === sec || (item.lane === sec && !this.routes.isOpen(item.owner))) {
        this.enqueue(item, sec);
      } else if (item.sending === "stranded") {
        this.park(item, now + ASTRAY_MS);
      }
    }
  }

  /** A SEC has no stream any more. What was for it waits, for most streams come back; then it asks its way. */
  closed(sec: string, now: number): void {
    this.routes.closed(sec);
    this.lanes.delete(sec);
    for (const item of this.held.values()) {
      if (item.lane === sec && (item.sending === "queued" || item.sending === "written")) {
        this.park(item, now + ASTRAY_MS);
      }
    }
  }

  /** Whether `take` has anything to give. */
  hasQueued(lane: string): boolean {
    const queue = this.lanes.get(lane);
    for (let next = queue?.peek(); next !== undefined && !this.isDue(next, lane); next = queue?.peek()) {
      queue?.shift();
    }
    return queue !== undefined && queue.length > 0;
  }

  /** The results to write next, oldest first, of at most `budget` bytes. */
  take(lane: string, budget: number, countMax = UNACKED_RESULTS_MAX): InvocationResult[] {
    const taken: InvocationResult[] = [];
    let left = budget;
    const queue = this.lanes.get(lane);
    for (let item = queue?.peek(); item !== undefined && taken.length < countMax; item = queue?.peek()) {
      if (this.isDue(item, lane)) {
        if (item.size > left) {
          break;
        }
        left -= item.size;
        item.sending = "written";
        taken.push(item.message);
      }
      queue?.shift();
    }
    return taken;
  }

  /** Addresses to call now, each with what to tell there. */
  *takeCalls(): Iterable<{ address: string; results: InvocationResult[] }> {
    for (const address of [...this.calls]) {
      if (!this.hasQueued(CALL + address)) {
        this.calls.delete(address);
        this.lanes.delete(CALL + address);
      } else if (this.routes.beginCall(address)) {
        yield { address, results: this.take(CALL + address, FRAME_BYTES, CALL_RESULTS_MAX) };
      }
    }
  }

  /** A call has ended; undefined: without an answer. Returns the acknowledgements because of which one is forgotten. */
  called(address: string, acks: readonly ResultAck[] | undefined, now: number): ResultAck[] {
    const lane = CALL + address;
    this.routes.endCall(address, acks !== undefined, now);
    const forgotten = (acks ?? []).filter((ack) => this.acknowledge(ack, lane, now));
    for (const item of [...this.held.values()]) {
      if (item.lane === lane && (item.sending === "queued" || item.sending === "written")) {
        if (acks === undefined) {
          this.route(item, now);
        } else if (item.sending === "written") {
          this.park(item, now + RETRY_MS);
        }
      }
    }
    return forgotten;
  }

  /** Send what was parked until now. */
  wake(now: number): void {
    if (now < this.wakeAt) {
      return;
    }
    this.wakeAt = Number.POSITIVE_INFINITY;
    for (const item of [...this.parked]) {
      if (item.until <= now) {
        this.route(item, now);
      } else {
        this.wakeAt = Math.min(this.wakeAt, item.until);
      }
    }
  }

  /** When `wake` has something to do. May be too early, never too late. */
  nextWake(): number {
    return this.parked.size > 0 ? this.wakeAt : Number.POSITIVE_INFINITY;
  }

  /** A SEC names the owner. The first time it is believed at once; a search that goes on slows down. */
  private redirect(item: Unacked, owner: Sec | undefined, now: number): void {
    item.redirects += 1;
    item.owner = owner?.secId ?? "";
    this.routes.learn(item.owner, owner?.address ?? "");
    if (item.owner !== "" && item.redirects === 1) {
      this.route(item, now);
    } else {
      this.park(item, now + searchMillis(item.redirects));
    }
  }

  private sendToOwner(item: Unacked, now: number): void {
    if (this.routes.isOpen(item.owner)) {
      this.enqueue(item, item.owner);
    } else {
      this.park(item, now + ASTRAY_MS);
    }
  }

  private route(item: Unacked, now: number): void {
    const lane = this.routes.laneTo(item.owner, now);
    if (lane === undefined) {
      this.parked.delete(item);
      item.sending = "stranded";
      return;
    }
    this.enqueue(item, lane);
    if (lane.startsWith(CALL)) {
      this.calls.add(lane.slice(CALL.length));
    }
  }

  private park(item: Unacked, until: number): void {
    item.sending = "parked";
    item.until = until;
    this.parked.add(item);
    this.wakeAt = Math.min(this.wakeAt, until);
  }

  private enqueue(item: Unacked, lane: string): void {
    this.parked.delete(item);
    item.sending = "queued";
    item.lane = lane;
    const queue = this.lanes.get(lane) ?? new Queue<Unacked>();
    this.lanes.set(lane, queue);
    queue.push(item);
  }

  /** An acknowledgement, a new stream or another SEC may have overtaken what stands in a queue. */
  private isDue(item: Unacked, lane: string): boolean {
    return item.sending === "queued" && item.lane === lane && this.held.get(item.key) === item;
  }

  private judge(): void {
    const share = this.full ? RESUME_SHARE : 1;
    this.full = this.bytes > this.bytesMax * share || this.held.size > this.countMax * share;
  }
}
