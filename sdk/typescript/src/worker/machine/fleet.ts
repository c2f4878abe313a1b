/**
 * All sessions of this worker: which addresses are dialled, and when; what the shell talks to.
 *
 * The worker knows a few *bootstrap* addresses from its user. One of them is dialled, the next when that fails, and so on;
 * whichever SEC answers tells who the SECs are, and then each is dialled at its own address. From there on the bootstrap
 * addresses are a fall-back. Two streams to one SEC at the same time must not be, and who answers at a bootstrap address
 * is not known before. So one is dialled only while no other stream is open or on its way, and until it is welcomed no
 * other is begun.
 */

import {
  WorkerCapability,
  type ConnectResponse,
  type Hello,
  type ResultAck,
} from "../../gen/sagaline/v1/worker_service.js";
import type { Effect, EffectOf } from "./effects.js";
import type { Holdings } from "./holdings.js";
import { Membership } from "./membership.js";
import { Session } from "./session.js";

/** Effects that the fleet heeds. */
const OWN: ReadonlySet<Effect["type"]> = new Set(["reconnect", "members", "welcomed", "closed"]);

export class Fleet {
  /** By address. */
  readonly sessions = new Map<string, Session>();
  /** Why the worker can't go on, though nobody asked it to leave. */
  error: string | undefined;
  private readonly hello: Hello;
  private readonly bootstrap: string[];
  private readonly members = new Membership();
  private readonly retries = new Map<string, EffectOf<"reconnect">>();
  /** Addresses that the shell was told to dial, and has not yet. */
  private readonly ordered = new Set<string>();
  /** The address at which a SEC answered last. */
  private favourite = "";
  private planAt = Number.POSITIVE_INFINITY;

  constructor(
    hello: Hello,
    readonly holdings: Holdings,
    bootstrap: readonly string[],
  ) {
    this.hello = { ...hello, capabilities: [WorkerCapability.SEVERAL_SECS] };
    this.bootstrap = [...new Set(bootstrap)];
    holdings.results.routes.isLinked = (address) => this.sessions.has(address);
  }

  // ---- events

  /** Begin to dial. */
  start(now: number): Effect[] {
    return this.settle(now, true);
  }

  /** The shell has a stream for a session, and will pull its first frame. */
  opened(session: Session, now: number): Effect[] {
    this.ordered.delete(session.address);
    session.opened(now);
    return this.settle(now);
  }

  /** A frame has come. */
  received(session: Session, frame: ConnectResponse, now: number): Effect[] {
    session.received(frame, now);
    return this.settle(now);
  }

  /** The frame pulled last is written. */
  written(session: Session, now: number): Effect[] {
    session.written(now);
    return this.settle(now);
  }

  /** A stream is over; `draw` is random, from 0 to 1. */
  ended(session: Session, now: number, why: string, draw: number): Effect[] {
    session.ended(now, why, draw);
    return this.settle(now, true);
  }

  /** A call of ReportResults has ended; undefined: without an answer. */
  called(address: string, acks: readonly ResultAck[] | undefined, now: number): Effect[] {
    this.holdings.called(address, acks, now);
    return this.settle(now);
  }

  /** The shell told the holdings something: ends of user code, or progress. */
  changed(now: number): Effect[] {
    return this.settle(now);
  }

  /** Begin to leave, or leave sooner than was said before. */
  drain(now: number, timeout: number): Effect[] {
    this.holdings.drain(now, timeout);
    return this.tick(now);
  }

  /** Time has passed; `lag` is as for `Session.tick`. */
  tick(now: number, lag = 0): Effect[] {
    this.holdings.tick(now);
    for (const session of [...this.sessions.values()]) {
      session.tick(now, lag);
    }
    return this.settle(now, true);
  }

  /** When `tick` has something to do; infinity: never. */
  nextDeadline(): number {
    if (this.isClosed) {
      return Number.POSITIVE_INFINITY; // who has left has nothing to do any more, whatever is left behind
    }
    let deadline = Math.min(this.holdings.nextDeadline(), this.planAt);
    for (const session of this.sessions.values()) {
      deadline = Math.min(deadline, session.nextDeadline());
    }
    return deadline;
  }

  /** Whether a session is open at this moment. */
  get isConnected(): boolean {
    return [...this.sessions.values()].some((session) => session.state === "open");
  }

  /** Whether the worker has left. */
  get isClosed(): boolean {
    return this.holdings.draining && this.sessions.size === 0;
  }

  // ---- inside

  /** Heed what is for the fleet, pass the rest on, and add what follows. */
  private settle(now: number, plan = false): Effect[] {
    let effects = this.holdings.effects.take();
    if (!plan && !this.holdings.draining && !effects.some((effect) => OWN.has(effect.type))) {
      return effects.concat(this.calls());
    }
    const passedOn: Effect[] = [];
    for (let round = 0; round === 0 || effects.length > 0; round += 1) {
      passedOn.push(...effects.filter((effect) => this.passOn(effect, now)));
      if (this.holdings.draining) {
        for (const session of [...this.sessions.values()]) {
          session.conclude(now);
        }
      }
      this.plan(now);
      effects = this.holdings.effects.take();
    }
    return passedOn.concat(this.calls());
  }

  private calls(): Effect[] {
    const calls = this.isClosed ? [] : this.holdings.results.takeCalls();
    return Array.from(calls, ({ address, results }) => ({ type: "call", address, results }));
  }

  /** Whether an effect is for the shell; the fleet heeds its own. */
  private passOn(effect: Effect, now: number): boolean {
    switch (effect.type) {
      case "reconnect":
        this.retries.set(effect.address, effect);
        return false;
      case "members":
        this.takeMembers(effect);
        return false;
      case "welcomed":
        this.welcomed(effect);
        return true;
      case "closed":
        this.forget(effect, now);
        return true;
      default:
        return true;
    }
  }

  private welcomed({ address, sec }: EffectOf<"welcomed">): void {
    this.favourite = address;
    const others = [...this.sessions.values()].filter((other) => other.address !== address && other.state === "open");
    if (others.length === 0) {
      this.members.forgetRevision();
    }
    for (const other of others) {
      if (other.sec === sec) {
        // Two addresses lead to one SEC, and it has ended the older stream by now.
        this.holdings.effects.note("warn", "two addresses of one SEC", { sec, one: other.address, two: address });
        other.giveUpStream("replaced by another stream of this worker");
      }
    }
  }

  private takeMembers({ secs }: EffectOf<"members">): void {
    if (this.members.take(secs)) {
      this.holdings.takeMembers(secs.secs);
      const named = [...this.members.addresses].map(([sec, address]) => `${sec} at ${address}`).join(", ");
      this.holdings.effects.note("info", "membership", { revision: String(secs.revision), secs: named });
    }
  }

  private forget({ address, error }: EffectOf<"closed">, now: number): void {
    this.sessions.delete(address);
    this.retries.delete(address);
    this.ordered.delete(address);
    if (error !== undefined && this.error === undefined) {
      this.error = error;
      this.holdings.drain(now, 0);
      for (const session of [...this.sessions.values()]) {
        session.conclude(now);
      }
    }
  }

  // ---- dialling

  /** Dial what is due and may be dialled; let go of addresses that are good for nothing any more. */
  private plan(now: number): void {
    this.planAt = Number.POSITIVE_INFINITY;
    if (this.holdings.givenUp || this.error !== undefined) {
      return;
    }
    if (this.holdings.draining && !this.holdings.busy) {
      this.dialForRejections(now);
      this.planAgain(now);
      return;
    }
    const wanted = this.members.addresses;
    this.closeUnwanted(new Set(wanted.values()));
    const busy = [...this.sessions.values()].filter((session) => this.isBusy(session));
    if (busy.some(({ state, sec }) => (state === "idle" || state === "greeting") && sec === "")) {
      return; // nobody knows who will answer there
    }
    if (busy.length === 0 && this.isFavouriteAlone() && this.dialIfDue(this.favourite, "", now)) {
      return;
    }
    const taken = new Set(busy.map(({ sec }) => sec));
    for (const [sec, address] of wanted) {
      if (!taken.has(sec) && this.dialIfDue(address, sec, now)) {
        taken.add(sec);
      }
    }
    if (busy.length === 0 && this.ordered.size === 0) {
      this.dialBootstrap(now);
    }
    this.planAgain(now);
  }

  /** While leaving, with nothing held any more: the sessions that are left owe a rejection. */
  private dialForRejections(now: number): void {
    for (const [address, session] of [...this.sessions]) {
      const alone = ![...this.sessions.values()].some((other) => this.isBusy(other));
      if (alone || [...this.members.addresses.values()].includes(address)) {
        this.dialIfDue(address, session.sec, now);
      }
    }
  }

  private isBusy(session: Session): boolean {
    return session.state !== "idle" || this.ordered.has(session.address);
  }

  /** Whether the bootstrap address that worked until now is to be tried again before anything else. */
  private isFavouriteAlone(): boolean {
    const known = [...this.members.addresses.values()].includes(this.favourite);
    return this.bootstrap.includes(this.favourite) && !known && (this.retries.get(this.favourite)?.failures ?? 0) === 0;
  }

  private dialIfDue(address: string, sec: string, now: number): boolean {
    const retry = this.retries.get(address);
    let session = this.sessions.get(address);
    if ((retry !== undefined && retry.at > now) || (session !== undefined && this.isBusy(session))) {
      return false;
    }
    if (session === undefined) {
      session = new Session(address, this.hello, this.holdings);
      this.sessions.set(address, session);
    }
    session.sec = sec;
    this.ordered.add(address);
    this.holdings.effects.add({ type: "connect", address, freshChannel: retry?.freshChannel ?? false });
    return true;
  }

  private dialBootstrap(now: number): void {
    const known = new Set(this.members.addresses.values());
    for (const address of [...this.bootstrap]) {
      this.bootstrap.push(...this.bootstrap.splice(0, 1));
      if (!known.has(address) && this.dialIfDue(address, "", now)) {
        return;
      }
    }
  }

  private closeUnwanted(wanted: ReadonlySet<string>): void {
    for (const [address, session] of [...this.sessions]) {
      if (!wanted.has(address) && !this.bootstrap.includes(address) && !this.isBusy(session)) {
        session.close();
      }
    }
  }

  /** When the next address is due. What is due and may not be dialled waits for an event, not for a time. */
  private planAgain(now: number): void {
    for (const [address, { at }] of this.retries) {
      const session = this.sessions.get(address);
      if (at > now && session !== undefined && !this.isBusy(session)) {
        this.planAt = Math.min(this.planAt, at);
      }
    }
  }
}
