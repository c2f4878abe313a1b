/**
 * The session of this worker at one address: its streams one after another, frame by frame.
 *
 * No I/O, clock or randomness: the shell tells what happens, with the time in milliseconds of a clock that never goes back
 * and a random draw where one is needed, and does what the effects ask. protos/README.md numbers the rules that are kept
 * here. What is held outlives the stream and is in `Holdings`, shared by all sessions. The shell must not deliver a frame
 * of a stream after it said `ended` of it: only so can `hello` say what is held.
 */

import {
  CancellationReason,
  ConnectRequest,
  GoAwayReason,
  Hello,
  type Capacity,
  type ConnectResponse,
  type GoAway,
  type Welcome,
} from "../../gen/sagaline/v1/worker_service.js";
import { durationOf } from "../../durations.js";
import { isValid, type CancelReason } from "./attempts.js";
import type { Effects, Level } from "./effects.js";
import type { Holdings } from "./holdings.js";
import * as limits from "./limits.js";
import { Pulse } from "./pulse.js";
import { Reports } from "./reports.js";

/**
 * `idle`: no stream. `greeting`: a stream is open for our hello and has not brought the welcome. `open`: everything may
 * flow. `ending`: the stream is over for us; what it still brings is not looked at. `closing`: drained, everything said and
 * confirmed, our half is closed. `closed`: over for good.
 */
export type SessionState = "idle" | "greeting" | "open" | "ending" | "closing" | "closed";

type SessionEvent = "opened" | "welcome" | "giveUpStream" | "saidAll" | "ended" | "close";

const TRANSITIONS: Record<SessionState, Partial<Record<SessionEvent, SessionState>>> = {
  idle: { opened: "greeting", close: "closed" },
  greeting: { welcome: "open", giveUpStream: "ending", ended: "idle" },
  open: { giveUpStream: "ending", saidAll: "closing", ended: "idle" },
  ending: { ended: "idle" },
  closing: { ended: "closed" },
  closed: {},
};

/** Every other reason, also one that is not known here, counts as `saga_unwinding`. */
const CANCEL_REASONS = new Map<CancellationReason, CancelReason>([
  [CancellationReason.TIMED_OUT, "timed_out"],
  [CancellationReason.SUPERSEDED, "superseded"],
  [CancellationReason.NOT_FOUND, "not_found"],
]);

export class Session {
  state: SessionState = "idle";
  /** The SEC that is expected at the address, or that has welcomed us; "" while nobody knows who will answer. */
  sec = "";
  private readonly effects: Effects;
  private terms = limits.DEFAULT_TERMS;
  private readonly pulse: Pulse;
  private readonly reports: Reports;
  private streamEpoch = 0;
  private failures = 0;
  private error: string | undefined;
  // Of the stream that is open:
  private sequence = 0n;
  private welcomedAt: number | undefined;
  private deadline = Number.POSITIVE_INFINITY;
  private helloDue = false;
  private drainSaid = false;
  private drained = false;
  private brokeRules = false;

  constructor(
    readonly address: string,
    private readonly hello: Hello,
    private readonly holdings: Holdings,
  ) {
    this.effects = holdings.effects;
    this.pulse = new Pulse(holdings.streams);
    this.reports = new Reports(holdings);
  }

  // ---- events; what is to be done is in the holdings' effects

  /** The shell has a stream, and will pull its first frame. */
  opened(now: number): void {
    this.move("opened");
    this.streamEpoch = this.holdings.opened(this.address);
    this.sequence = 0n;
    this.welcomedAt = undefined;
    this.deadline = now + limits.HANDSHAKE_MS;
    this.helloDue = true;
    this.brokeRules = this.drainSaid = this.drained = false;
    this.reports.clear();
  }

  /** A frame of the open stream. */
  received(frame: ConnectResponse, now: number): void {
    if (this.state === "idle" || this.state === "closed") {
      throw new Error(`a frame in state ${this.state}`);
    }
    if (this.state === "ending") {
      return;
    }
    const problem = this.problem(frame);
    if (problem !== undefined) {
      this.brokeRules = true;
      this.effects.note("error", "protocol error of the SEC", { ...this.names(), problem });
      this.giveUpStream(`protocol error: ${problem}`);
      return;
    }
    this.sequence = frame.sequence;
    this.pulse.heard(now);
    if (frame.welcome !== undefined) {
      this.welcome(frame.welcome, now);
    }
    this.process(frame, now);
    this.conclude(now);
  }

  /** The frame pulled last is written. */
  written(now: number): void {
    this.conclude(now);
  }

  /** The stream is over, whatever the reason; `draw` is random, from 0 to 1. */
  ended(now: number, why: string, draw: number): void {
    const steady = this.welcomedAt !== undefined && now - this.welcomedAt >= limits.STEADY_MS;
    this.move("ended");
    this.holdings.ended(this.address, now);
    this.deadline = Number.POSITIVE_INFINITY;
    this.failures = steady && !this.brokeRules ? 0 : this.failures + 1;
    this.effects.note(this.level(), "stream ended", { ...this.names(), why, failures: this.failures });
    if (this.hasState("closed")) {
      this.effects.add({ type: "closed", address: this.address, error: undefined });
    } else if (this.error !== undefined) {
      this.close();
    } else {
      this.conclude(now);
    }
    if (this.hasState("idle")) {
      this.reconnect(now, draw);
    }
  }

  /** Time has passed; `lag` is how long the shell stood still and could not have read a frame. */
  tick(now: number, lag = 0): void {
    this.pulse.stoodStill(lag);
    const dead = this.state === "open" ? this.pulse.tick(now) : undefined;
    if (dead !== undefined) {
      this.giveUpStream(dead);
    } else if (now >= this.deadline) {
      this.giveUpStream(this.welcomedAt === undefined ? "no welcome in time" : "no end of stream in time");
    }
    this.conclude(now);
  }

  /** When `tick` has something to do. */
  nextDeadline(): number {
    return this.state === "open" ? this.pulse.nextDeadline() : this.deadline;
  }

  // ---- frames

  /** Whether `nextFrame` gives one. */
  hasFrame(): boolean {
    const holdings = this.holdings;
    switch (this.state) {
      case "greeting":
        return this.helloDue;
      case "closing":
        return holdings.results.hasQueued(this.sec) || holdings.rejections.hasQueued(this.sec);
      case "open":
        return (
          holdings.results.hasQueued(this.sec) ||
          holdings.rejections.hasQueued(this.sec) ||
          this.pulse.due ||
          (holdings.draining && !this.drainSaid) ||
          this.reports.isDue ||
          holdings.progress.hasQueued(this.sec) ||
          holdings.windows.hasNews(this.address, holdings.closed)
        );
      default:
        return false;
    }
  }

  /** The next frame to write, with all that is queued and fits; undefined while there is nothing to say. */
  nextFrame(now: number): ConnectRequest | undefined {
    if (!this.hasFrame()) {
      return undefined;
    }
    const frame = ConnectRequest.fromPartial({});
    frame.ackSequence = this.sequence;
    let budget = this.terms.frameBytes - limits.FRAME_RESERVE_BYTES;
    if (this.state === "greeting") {
      this.addHello(frame, budget);
      return frame;
    }
    if (this.state === "open") {
      budget = this.addFacts(frame, budget, now);
    }
    this.addAnswers(frame, budget, now);
    return frame;
  }

  private addHello(frame: ConnectRequest, budget: number): void {
    this.helloDue = false;
    const hello: Hello = { ...this.hello, streamEpoch: BigInt(this.streamEpoch), capacity: this.capacity() };
    this.reports.everything(this.sec === "" ? undefined : this.sec);
    hello.inFlight = this.reports.take(budget - Hello.encode(hello).finish().length).report;
    frame.hello = hello;
  }

  /** What the session itself has to say. All but reports is small and of fixed size. */
  private addFacts(frame: ConnectRequest, budget: number, now: number): number {
    const holdings = this.holdings;
    if (this.pulse.due) {
      const { held, unackedBytes } = holdings.counts();
      frame.heartbeat = this.pulse.beat(now, held, unackedBytes);
    }
    if (holdings.windows.hasNews(this.address, holdings.closed)) {
      frame.capacity = this.capacity();
    }
    if (holdings.draining && !this.drainSaid) {
      this.drainSaid = true;
      frame.drain = { timeout: durationOf(holdings.drainLeft(now)), reason: "the worker stops" };
    }
    if (!this.reports.isDue) {
      return budget;
    }
    const { report, left } = this.reports.take(budget);
    frame.inFlight = report;
    return left;
  }

  private addAnswers(frame: ConnectRequest, budget: number, now: number): void {
    const holdings = this.holdings;
    const progress = holdings.progress.take(this.sec, budget, now);
    frame.progress = progress.messages;
    let left = progress.left;
    if (holdings.rejections.hasQueued(this.sec)) {
      const nonce = frame.heartbeat === undefined ? holdings.streams.nonce + 1 : Number(frame.heartbeat.nonce);
      const rejections = holdings.rejections.take(this.sec, left, nonce);
      frame.rejections = rejections.messages;
      left = rejections.left;
      if (holdings.rejections.size >= limits.HEARTBEAT_EARLY_REJECTIONS) {
        this.pulse.hurry(now);
      }
    }
    frame.results = holdings.results.take(this.sec, left);
  }

  private capacity(): Capacity {
    return {
      maxInFlightByPool: this.holdings.windows.tell(this.address, this.holdings.closed),
      maxInFlightBytes: BigInt(limits.OUTSTANDING_BYTES_MAX),
    };
  }

  // ---- what a frame says

  /** How a frame breaks the protocol so that nothing on the stream can be trusted any more. */
  private problem(frame: ConnectResponse): string | undefined {
    if (frame.sequence !== this.sequence + 1n) {
      return `sequence ${String(frame.sequence)} after ${String(this.sequence)}`;
    }
    if ((frame.welcome !== undefined) !== (this.state === "greeting")) {
      return frame.welcome === undefined ? "the first frame has no welcome" : "a second welcome";
    }
    const version = frame.welcome?.protocolVersion ?? limits.PROTOCOL_VERSION;
    return version < 1 || version > limits.PROTOCOL_VERSION
      ? `protocol version ${String(version)}, while ${String(limits.PROTOCOL_VERSION)} was offered`
      : undefined;
  }

  private welcome(welcome: Welcome, now: number): void {
    this.move("welcome");
    this.welcomedAt = now;
    this.deadline = Number.POSITIVE_INFINITY;
    this.terms = limits.termsOf(welcome);
    this.pulse.start(now, this.terms);
    this.sec = welcome.secId === "" ? this.address : welcome.secId;
    this.holdings.welcomed(this.address, this.sec, this.terms.payloadBytes, now);
    this.effects.add({ type: "welcomed", address: this.address, sec: this.sec, refused: welcome.refusedActions });
    if (welcome.secs !== undefined) {
      this.effects.add({ type: "members", secs: welcome.secs });
    }
  }

  /** Acknowledgements first, for they free; cancellations after the invocations that they may be about. */
  private process(frame: ConnectResponse, now: number): void {
    const holdings = this.holdings;
    for (const ack of frame.resultAcks) {
      holdings.acknowledge(ack, this.sec, now);
    }
    if (frame.sagaMoves.length > 0) {
      holdings.move(this.sec, frame.sagaMoves, now);
    }
    if (frame.adoptions.length > 0) {
      holdings.adopt(this.sec, frame.adoptions, now);
      for (const adoption of frame.adoptions) {
        this.reports.about(adoption.refs);
      }
    }
    for (const invocation of frame.invocations) {
      holdings.receive(invocation, this.sec, now);
    }
    for (const { ref, reason } of frame.cancellations) {
      if (isValid(ref) && !holdings.cancel(ref, CANCEL_REASONS.get(reason) ?? "saga_unwinding")) {
        this.reports.about([ref]);
      }
    }
    if (frame.reconcile !== undefined) {
      if (frame.reconcile.refs.length > 0) {
        this.reports.about(frame.reconcile.refs);
      } else {
        this.reports.everything(this.sec);
      }
    }
    if (frame.heartbeatNonce !== 0n) {
      this.pulse.echoed(Number(frame.heartbeatNonce));
      holdings.rejections.confirm(this.sec, Number(frame.heartbeatNonce));
    }
    this.drained ||= frame.drained;
    if (frame.demands.length > 0) {
      holdings.windows.demand(this.address, frame.demands, now);
    }
    if (frame.secs !== undefined) {
      this.effects.add({ type: "members", secs: frame.secs });
    }
    if (frame.goAway !== undefined) {
      this.goAway(frame.goAway);
    }
  }

  private goAway({ reason, message }: GoAway): void {
    const atFault = reason === GoAwayReason.PROTOCOL_ERROR || reason === GoAwayReason.REPLACED;
    const facts = { ...this.names(), reason: GoAwayReason[reason] ?? reason, message };
    this.effects.note(atFault ? "error" : "info", "the SEC ends the stream", facts);
    this.brokeRules ||= reason === GoAwayReason.PROTOCOL_ERROR;
    if (reason === GoAwayReason.REPLACED) {
      if (!this.holdings.streams.replacedByUs(this.address)) {
        // So another process has: a copy of this one, with its id. Two would fight for ever.
        this.error = `another process uses the worker id ${this.hello.workerId}`;
      }
      this.giveUpStream("replaced");
    }
  }

  // ---- state

  private move(event: SessionEvent): void {
    const target = TRANSITIONS[this.state][event];
    if (target === undefined) {
      throw new Error(`${event} in session state ${this.state}`);
    }
    this.state = target;
  }

  /** As a call, so that the compiler does not take the state before a move for the present one. */
  private hasState(state: SessionState): boolean {
    return this.state === state;
  }

  /** Let the stream end, if there is one. */
  giveUpStream(why: string): void {
    if (this.state === "greeting" || this.state === "open") {
      this.move("giveUpStream");
    }
    this.deadline = Number.POSITIVE_INFINITY;
    this.effects.add({ type: "endStream", address: this.address, why, halfClose: false });
  }

  /**
   * While draining: end what has nothing left to say, or no time left to say it. As long as anything is held, from
   * whichever SEC, each session stays: sagas move, and results with them.
   */
  conclude(now: number): void {
    const holdings = this.holdings;
    if (!holdings.draining) {
      return;
    }
    const owes = holdings.busy || this.owesRejections();
    if (this.state === "idle" && (holdings.givenUp || !owes)) {
      this.close();
    } else if (this.state === "greeting") {
      if (holdings.givenUp || (!holdings.windows.hasGranted(this.address) && !owes)) {
        this.giveUpStream("the worker leaves");
      }
    } else if (this.state === "open") {
      const allSaid = this.drained && !holdings.busy && !this.hasFrame();
      if (allSaid || holdings.givenUp) {
        this.move("saidAll");
        this.deadline = now + limits.HALF_CLOSE_MS;
        const why = allSaid ? "drained" : "the drain's time is over";
        this.effects.add({ type: "endStream", address: this.address, why, halfClose: true });
      }
    }
  }

  private owesRejections(): boolean {
    for (const _ of this.holdings.rejections.of(this.sec)) {
      return true;
    }
    return false;
  }

  /** There will be no stream any more; only while there is none. */
  close(): void {
    this.move("close");
    this.effects.add({ type: "closed", address: this.address, error: this.error });
  }

  /** At once after a stream that worked; else with full jitter under a ceiling that doubles, for ever. */
  private reconnect(now: number, draw: number): void {
    const doublings = Math.min(Math.max(this.failures - 1, 0), 16);
    const ceiling = Math.min(limits.RECONNECT_MS_MAX, limits.RECONNECT_MS_MIN * 2 ** doublings);
    this.effects.add({
      type: "reconnect",
      address: this.address,
      at: now + (this.failures > 0 ? draw * ceiling : 0),
      freshChannel: this.failures > 0 && this.failures % limits.FRESH_CHANNEL_FAILURES === 0,
      failures: this.failures,
    });
  }

  /** Failures that go on are told of ever more rarely. */
  private level(): Level {
    if (this.holdings.draining) {
      return "info";
    }
    return (this.failures & (this.failures - 1)) === 0 ? "warn" : "debug";
  }

  private names(): { sec: string; address: string } {
    return { sec: this.sec === "" ? "?" : this.sec, address: this.address };
  }
}
