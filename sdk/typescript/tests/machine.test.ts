/**
 * The worker's machine without a network: rules frame by frame, and a random world of SECs, streams that break, sagas that
 * move and user code, in which its promises hold whatever happens.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { durationOf } from "../src/durations.js";
import {
  Hello,
  ConnectResponse,
  Invocation,
  RejectionReason,
  ResultStatus,
} from "../src/gen/sagaline/v1/worker_service.js";
import type {
  ConnectRequest,
  DeepPartial,
  InvocationRef,
  InvocationResult,
} from "../src/gen/sagaline/v1/worker_service.js";
import { jsonPayload } from "../src/payload.js";
import { VERSION } from "../src/version.js";
import { keyOf } from "../src/worker/machine/attempts.js";
import type { Effect } from "../src/worker/machine/effects.js";
import { bounded, cutText, failure } from "../src/worker/machine/failures.js";
import { Fleet } from "../src/worker/machine/fleet.js";
import { Holdings } from "../src/worker/machine/holdings.js";
import type { Session } from "../src/worker/machine/session.js";
import { split } from "../src/worker/machine/windows.js";
import { fc } from "./random.js";

const SLOTS = 2;
const OUTPUT = { $case: "output", value: jsonPayload("1") } as const;

/** A worker and what its shell would hold; a SEC answers at every address, named as it. */
class World {
  now = 0;
  readonly fleet: Fleet;
  readonly running = new Set<string>();
  readonly started: string[] = [];
  readonly sent = new Map<string, { sec: string; frame: ConnectRequest }[]>();
  private readonly sequences = new Map<string, bigint>();
  private readonly due = new Set<string>();

  constructor(addresses = ["a:1"]) {
    const holdings = new Holdings({ poolOf: (name) => (name === "x" ? "" : undefined), slots: new Map([["", SLOTS]]) });
    this.fleet = new Fleet(Hello.fromPartial({ protocolVersion: 1, workerId: "w" }), holdings, addresses);
    this.apply(this.fleet.start(0));
  }

  apply(effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.type === "start") {
        for (const { key, invocation } of effect.attempts) {
          const place = `${invocation.ref?.sagaId ?? ""}/${invocation.ref?.node ?? ""}`;
          assert.ok(!this.started.includes(key), "an attempt runs once");
          assert.ok(![...this.running].some((other) => other.startsWith(`${place}\n`)), "a node runs once at a time");
          this.started.push(key);
          this.running.add(`${place}\n${key}`);
          assert.ok(this.running.size <= SLOTS, "no more run than there are slots");
        }
      } else if (effect.type === "connect") {
        this.due.add(effect.address);
      } else if (effect.type === "endStream") {
        this.end(effect.address);
      }
    }
  }

  session(address: string): Session | undefined {
    return this.fleet.sessions.get(address);
  }

  /** Open what the worker wants opened, and welcome it. */
  connect(secs: readonly string[] = []): void {
    for (const address of [...this.due]) {
      this.due.delete(address);
      const session = this.session(address);
      if (session?.state === "idle") {
        this.sequences.set(address, 0n);
        this.apply(this.fleet.opened(session, this.now));
        assert.ok(this.write(address)?.hello, "the first frame is a hello");
        const set = { revision: 1n, secs: secs.map((sec) => ({ secId: sec, address: sec })) };
        this.receive(address, {
          welcome: { protocolVersion: 1, secId: address, incarnation: 1n, ...(secs.length > 0 ? { secs: set } : {}) },
        });
      }
    }
  }

  receive(address: string, frame: DeepPartial<ConnectResponse>): void {
    const session = this.session(address);
    if (session === undefined || session.state === "idle") {
      return;
    }
    const sequence = (this.sequences.get(address) ?? 0n) + 1n;
    this.sequences.set(address, sequence);
    this.apply(this.fleet.received(session, ConnectResponse.fromPartial({ ...(frame as object), sequence }), this.now));
  }

  write(address: string): ConnectRequest | undefined {
    const session = this.session(address);
    const frame = session?.nextFrame(this.now);
    if (session !== undefined && frame !== undefined) {
      this.apply(this.fleet.written(session, this.now));
    }
    return frame;
  }

  end(address: string): void {
    const session = this.session(address);
    if (session !== undefined && session.state !== "idle" && session.state !== "closed") {
      this.apply(this.fleet.ended(session, this.now, "broken", 0));
    }
  }

  finish(key: string): void {
    const entry = [...this.running].find((other) => other.endsWith(`\n${key}`));
    if (entry !== undefined) {
      this.running.delete(entry);
      this.fleet.holdings.finished(key, OUTPUT, this.now);
      this.apply(this.fleet.changed(this.now));
    }
  }

  pass(millis: number): void {
    this.now += millis;
    this.apply(this.fleet.tick(this.now));
  }
}

function invocation(saga: string, attempt = 1, epoch = 1n, kind: 1 | 2 = 1, action = "x"): Invocation {
  const ref = { sagaId: saga, node: "n", kind, attempt };
  return Invocation.fromPartial({ ref, action, version: "1", epoch });
}

function key(saga: string, attempt = 1, kind: 1 | 2 = 1): string {
  return keyOf({ sagaId: saga, node: "n", kind, attempt });
}

function connected(): World {
  const world = new World();
  world.connect();
  return world;
}

test("W27, W28: a result is kept until its final acknowledgement, and sent again on a new stream", () => {
  const world = connected();
  world.receive("a:1", { invocations: [invocation("s")] });
  world.finish(key("s"));
  assert.equal(world.write("a:1")?.results.length, 1);
  world.end("a:1");
  world.pass(0);
  world.connect();
  const again = world.write("a:1")?.results[0];
  assert.deepEqual(again?.ref, { sagaId: "s", node: "n", kind: 1, attempt: 1 });
  world.receive("a:1", { resultAcks: [{ ...again, status: ResultStatus.RETRY, retryDelay: durationOf(500) }] });
  world.pass(499);
  assert.equal(world.write("a:1")?.results.length ?? 0, 0);
  world.pass(1);
  assert.equal(world.write("a:1")?.results.length, 1);
  world.receive("a:1", { resultAcks: [{ ...again, status: ResultStatus.RECORDED }] });
  assert.equal(world.fleet.holdings.busy, false);
});

test("W20, W21: what is held is attached, and a lower epoch is refused", () => {
  const world = connected();
  world.receive("a:1", { invocations: [invocation("s", 1, 2n), invocation("s", 1, 2n)] });
  assert.equal(world.started.length, 1);
  world.receive("a:1", {
    invocations: [{ ...invocation("s", 1, 1n, 2), ref: { sagaId: "s", node: "m", kind: 2, attempt: 1 } }],
  });
  assert.equal(world.write("a:1")?.rejections[0]?.reason, RejectionReason.STALE_EPOCH);
});

test("W16, W23: what is not served, and what does not fit, is rejected", () => {
  const world = connected();
  const many = ["1", "2", "3", "4"].map((saga) => invocation(saga));
  world.receive("a:1", { invocations: [...many, invocation("5", 1, 1n, 1, "y")] });
  const reasons = world.write("a:1")?.rejections.map(({ reason }) => reason);
  assert.deepEqual(reasons, [RejectionReason.NO_CAPACITY, RejectionReason.UNKNOWN_ACTION]);
  assert.equal(world.started.length, SLOTS);
});

test("W33: a rejection is kept until the echo of a heartbeat that left with it", () => {
  const world = connected();
  world.receive("a:1", { invocations: [invocation("s", 1, 1n, 1, "y")] });
  assert.equal(world.write("a:1")?.rejections.length, 1);
  world.end("a:1");
  world.pass(0);
  world.connect();
  assert.equal(world.write("a:1")?.rejections.length, 1);
  world.pass(5_000);
  const nonce = world.write("a:1")?.heartbeat?.nonce ?? 0n;
  assert.ok(nonce > 0n);
  world.receive("a:1", { heartbeatNonce: nonce });
  assert.equal(world.fleet.holdings.rejections.size, 0);
});

test("W42: silence ends the stream, but not while this process stood still", () => {
  const world = connected();
  world.now += 20_000;
  world.apply(world.fleet.tick(world.now, 20_000));
  assert.equal(world.session("a:1")?.state, "open");
  world.pass(15_001);
  assert.equal(world.session("a:1")?.state, "idle");
});

test("W9: a gap in the sequence is a protocol error", () => {
  const world = connected();
  world.receive("a:1", { sequence: 9n });
  assert.equal(world.session("a:1")?.state, "open");
  const session = world.session("a:1");
  assert.ok(session);
  world.apply(world.fleet.received(session, ConnectResponse.fromPartial({ sequence: 9n }), world.now));
  assert.equal(world.session("a:1")?.state, "idle");
});

test("W49 to W52: a drain hands back what waits, lets run what runs, and leaves when all is acknowledged", () => {
  const world = connected();
  world.receive("a:1", { invocations: ["1", "2", "3"].map((saga) => invocation(saga)) });
  world.apply(world.fleet.drain(world.now, 10_000));
  const frame = world.write("a:1");
  assert.equal(frame?.rejections[0]?.reason, RejectionReason.DRAINING);
  assert.deepEqual([...(frame.capacity?.maxInFlightByPool ?? [])], [["", 0]]);
  assert.ok(frame.drain);
  world.finish(key("1"));
  world.finish(key("2"));
  const results = world.write("a:1")?.results ?? [];
  const resultAcks = results.map(
    ({ ref }) => ({ ref, status: ResultStatus.RECORDED }) as { ref: InvocationRef; status: number },
  );
  world.receive("a:1", { resultAcks, drained: true });
  assert.equal(world.fleet.isClosed, true);
});

test("windows: their sum is the slots, and who has work gets one if there are any", () => {
  const want = fc.record({ held: fc.nat(50), ready: fc.nat(50) });
  fc.assert(
    fc.property(fc.nat(200), fc.array(want, { minLength: 1, maxLength: 8 }), fc.nat(20), (slots, wants, turn) => {
      const shares = split(slots, wants, turn);
      assert.equal(
        shares.reduce((sum, share) => sum + share, 0),
        slots,
      );
      assert.ok(shares.every((share) => share >= 0));
      const busy = wants.filter(({ ready }) => ready > 0).length;
      assert.ok(busy > slots || wants.every(({ ready }, index) => ready === 0 || (shares[index] ?? 0) > 0));
    }),
  );
});

test("texts are cut between characters, and failures to their limits", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(40), (text, max) => {
      const cut = cutText(text, max);
      assert.ok(Buffer.byteLength(cut) <= max && text.startsWith(cut));
    }),
  );
  let deep = failure("T".repeat(500), "m".repeat(10_000), 1, 1);
  for (let depth = 0; depth < 9; depth += 1) {
    deep = { ...failure("T", "m", 1, 1), cause: deep };
  }
  let depth = 0;
  for (let at: typeof deep | undefined = bounded(deep, 100_000); at !== undefined; at = at.cause) {
    depth += 1;
  }
  assert.equal(depth, 4);
});

test("the version is that of the package", () => {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  assert.equal((JSON.parse(text) as { version: string }).version, VERSION);
});

const SECS = ["a:1", "b:1", "c:1"] as const;

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("send" as const),
      sec: fc.nat(2),
      saga: fc.nat(3),
      undo: fc.boolean(),
      next: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("finish" as const), pick: fc.nat(5) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("write" as const), sec: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("break" as const), sec: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pass" as const), millis: fc.nat(4_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("move" as const), sec: fc.nat(2), saga: fc.nat(3), told: fc.boolean() }),
  },
);

test("whatever happens: once, one at a time, within the slots, no lower epoch, and every answer arrives", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const world = new World([...SECS]);
      world.connect(SECS);
      world.connect(SECS);
      const owner = new Map([0, 1, 2, 3].map((saga) => [saga, { sec: "a:1", epoch: 1n }]));
      const attempts = new Map<string, number>();
      const unanswered = new Set<string>();
      // What the log has, no SEC ever sends again, whoever owns the saga by then.
      const recorded = new Set<string>();
      const answer = (address: string, frame: ConnectRequest | undefined): void => {
        const resultAcks = (frame?.results ?? []).flatMap(({ ref }: InvocationResult) => {
          const owned = owner.get(Number(ref?.sagaId));
          if (ref === undefined || owned === undefined) {
            return [];
          }
          if (owned.sec !== address) {
            return [{ ref, status: ResultStatus.NOT_OWNER, owner: { secId: owned.sec, address: owned.sec } }];
          }
          unanswered.delete(keyOf(ref));
          recorded.add(keyOf(ref));
          return [{ ref, status: ResultStatus.RECORDED }];
        });
        for (const { ref } of frame?.rejections ?? []) {
          assert.ok(ref && !world.started.includes(keyOf(ref)), "what was rejected has not run");
          unanswered.delete(keyOf(ref));
        }
        const nonce = frame?.heartbeat?.nonce ?? 0n;
        if (resultAcks.length > 0 || nonce > 0n) {
          world.receive(address, { resultAcks, heartbeatNonce: nonce });
        }
      };
      const go = (one: (typeof steps)[number]): void => {
        if (one.do === "send") {
          const sec = SECS[one.sec] ?? "a:1";
          const owned = owner.get(one.saga);
          const counter = `${one.saga}/${one.undo}`;
          const attempt = (attempts.get(counter) ?? 0) + (one.next || !attempts.has(counter) ? 1 : 0);
          const kind = one.undo ? 2 : 1;
          const known = key(String(one.saga), attempt, kind);
          if (owned?.sec === sec && world.session(sec)?.state === "open" && !recorded.has(known)) {
            attempts.set(counter, attempt);
            if (one.next) {
              unanswered.add(known);
            }
            world.receive(sec, { invocations: [invocation(String(one.saga), attempt, owned.epoch, kind)] });
          }
        } else if (one.do === "finish") {
          const entry = [...world.running][one.pick % Math.max(world.running.size, 1)];
          world.finish(entry?.slice(entry.indexOf("\n") + 1) ?? "");
        } else if (one.do === "write") {
          answer(SECS[one.sec] ?? "", world.write(SECS[one.sec] ?? ""));
        } else if (one.do === "break") {
          world.end(SECS[one.sec] ?? "");
        } else if (one.do === "pass") {
          world.pass(one.millis);
        } else {
          const to = SECS[one.sec] ?? "a:1";
          const before = owner.get(one.saga);
          const epoch = (before?.epoch ?? 0n) + 1n;
          owner.set(one.saga, { sec: to, epoch });
          const sagaId = String(one.saga);
          if (one.told && before !== undefined) {
            world.receive(before.sec, { sagaMoves: [{ sagaId, owner: { secId: to, address: to }, epoch }] });
          }
          world.receive(to, { adoptions: [{ sagaId, epoch, refs: [] }] });
        }
        world.connect(SECS);
      };
      steps.forEach(go);
      for (let round = 0; round < 60; round += 1) {
        for (const entry of [...world.running]) {
          world.finish(entry.slice(entry.indexOf("\n") + 1));
        }
        SECS.forEach((_, sec) => {
          go({ do: "write", sec });
        });
        go({ do: "pass", millis: 3_000 });
        SECS.forEach((sec) => world.receive(sec, {}));
      }
      assert.equal(world.fleet.holdings.results.size, 0, "every result has arrived");
      assert.deepEqual([...unanswered], [], "everything that was sent is answered");
    }),
  );
});
