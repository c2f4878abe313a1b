/** The I/O side of a worker: the machine, its streams and its clock. Runs in a thread that user code can't block. */

import { Metadata, status, type ChannelCredentials, type ClientOptions } from "@grpc/grpc-js";

import { WorkerServiceClient } from "../../gen/sagaline/v1/worker_service.js";
import { channelCredentials } from "../../security.js";
import { describe } from "../machine/attempts.js";
import type { Effect, EffectOf } from "../machine/effects.js";
import { Fleet } from "../machine/fleet.js";
import { Holdings } from "../machine/holdings.js";
import { CALL_MS } from "../machine/limits.js";
import { Link } from "./link.js";
import { servedKey, type FromIo, type Setup, type ToIo } from "./messages.js";
import { AskedTokens } from "./tokens.js";

const CHANNEL_OPTIONS: ClientOptions = {
  // Half-open connections are found by pings, also between streams; the SEC allows one in 10 s.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.http2.max_pings_without_data": 0,
  // The session's own backoff decides when to try again, so the channel's must not be longer.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // A new channel must not share the connection of the one it replaces.
  "grpc.use_local_subchannel_pool": 1,
};

/** Longest time that setTimeout can wait. */
const TIMER_MAX = 2 ** 31 - 1;

export class Engine {
  private readonly fleet: Fleet;
  private readonly security: ChannelCredentials;
  private readonly tokens: AskedTokens;
  private readonly links = new Map<string, Link>();
  private readonly pending: Effect[] = [];
  private applying = false;
  private connected = false;
  private ended = false;
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly setup: Setup,
    private readonly post: (message: FromIo) => void,
  ) {
    const poolOf = (action: string, version: string, kind: number): string | undefined =>
      setup.served.get(servedKey(action, version, kind));
    this.tokens = new AskedTokens(() => {
      post({ type: "tokenWanted" });
    });
    this.security = channelCredentials(setup.tls, setup.asksForToken ? this.tokens.next : setup.token);
    this.fleet = new Fleet(setup.hello, new Holdings({ poolOf, slots: setup.slots }), setup.addresses);
  }

  start(): void {
    this.apply(this.fleet.start(performance.now()));
  }

  /** The other thread said something. */
  receive(message: ToIo): void {
    const now = performance.now();
    const holdings = this.fleet.holdings;
    switch (message.type) {
      case "ends":
        for (const { key, outcome } of message.ends) {
          if (outcome === undefined) {
            holdings.notStarted(key, now);
          } else {
            holdings.finished(key, outcome, now);
          }
        }
        this.apply(this.fleet.changed(now));
        break;
      case "progress":
        holdings.reportProgress(message.key, message.details, now);
        this.apply(this.fleet.changed(now));
        break;
      case "drain":
        this.apply(this.fleet.drain(now, message.timeout));
        break;
      case "token":
        this.tokens.made(message);
        break;
    }
  }

  /** Do what the machine asks, in order; then let every writer look, and the clock be set. */
  private readonly apply = (effects: Effect[]): void => {
    this.pending.push(...effects);
    if (this.applying || this.ended) {
      return;
    }
    this.applying = true;
    try {
      for (let next = this.pending.shift(); next !== undefined; next = this.pending.shift()) {
        this.do(next);
      }
      for (const link of this.links.values()) {
        link.pump();
      }
    } finally {
      this.applying = false;
    }
    this.settle();
  };

  private do(effect: Effect): void {
    switch (effect.type) {
      case "start":
      case "note":
      case "stop":
      case "welcomed":
        this.post(effect);
        break;
      case "connect":
        this.link(effect.address)?.connect(effect);
        break;
      case "endStream":
        this.links.get(effect.address)?.endStream(effect);
        break;
      case "closed":
        this.links.get(effect.address)?.hangUp();
        this.links.delete(effect.address);
        break;
      case "call":
        this.call(effect);
        break;
      case "members":
      case "reconnect":
        break; // the fleet has heeded them
    }
  }

  private settle(): void {
    if (this.connected !== this.fleet.isConnected) {
      this.connected = this.fleet.isConnected;
      this.post({ type: "connected", connected: this.connected });
    }
    if (this.fleet.isClosed) {
      this.end();
    } else {
      this.setTimer();
    }
  }

  private end(): void {
    this.ended = true;
    clearTimeout(this.timer);
    const holdings = this.fleet.holdings;
    this.post({
      type: "ended",
      error: this.fleet.error,
      leftRunning: Array.from(holdings.leftRunning(), (attempt) => describe(attempt.ref)),
      unacked: holdings.results.size,
    });
  }

  private link(address: string): Link | undefined {
    const session = this.fleet.sessions.get(address);
    let link = this.links.get(address);
    if (link === undefined && session !== undefined) {
      link = new Link({
        fleet: this.fleet,
        session,
        dial: () => this.dial(address),
        apply: this.apply,
        statusName: (code) => status[code] ?? `status ${String(code)}`,
      });
      this.links.set(address, link);
    }
    return link;
  }

  private dial(address: string): WorkerServiceClient {
    return new WorkerServiceClient(address, this.security, CHANNEL_OPTIONS);
  }

  /** Tell results to a SEC to which there is no stream. */
  private call({ address, results }: EffectOf<"call">): void {
    const client = this.dial(address);
    const request = { results, workerId: this.setup.hello.workerId };
    const deadline = Date.now() + CALL_MS;
    client.waitForReady(deadline, (unready) => {
      if (unready !== undefined) {
        client.close();
        this.apply(this.fleet.called(address, undefined, performance.now()));
        return;
      }
      const metadata = new Metadata();
      client.reportResults(request, metadata, { deadline }, (error, response) => {
        client.close();
        this.apply(this.fleet.called(address, error === null ? response.resultAcks : undefined, performance.now()));
      });
    });
  }

  /** One timer for all. It may be set too early, which costs a look, and is never set too late. */
  private setTimer(): void {
    const at = this.fleet.nextDeadline();
    if (at === Number.POSITIVE_INFINITY || this.timerAt <= at) {
      return;
    }
    clearTimeout(this.timer);
    this.timerAt = at;
    const wait = Math.min(Math.max(0, Math.ceil(at - performance.now())), TIMER_MAX);
    this.timer = setTimeout(() => {
      this.timerAt = Number.POSITIVE_INFINITY;
      const now = performance.now();
      this.apply(this.fleet.tick(now, Math.max(0, now - Math.max(at, 0) - 1)));
    }, wait);
  }
}
