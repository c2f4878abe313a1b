/**
 * How the slots of this worker are split over its streams: windows, of which the sum never exceeds the slots.
 *
 * Each pool is split by what each SEC wants: what it has here already, and what waits there (`Demand`). If all of that
 * fits, each gets what it wants, and what is left over is split evenly. If it does not fit, each SEC with work gets one at
 * least, as long as there are any, and the rest goes in proportion. A split is made at once when a stream comes or goes,
 * and else at most once a second.
 *
 * A window grows only by what no other window holds any more: first the frame that shrinks one is made, then the frame
 * that lets another grow. So what was granted never exceeds the slots either.
 */

import type { Demand } from "../../gen/sagaline/v1/worker_service.js";
import { SPLIT_MS } from "./limits.js";

export interface Want {
  /** What the SEC has here. */
  readonly held: number;
  /** What waits there. */
  readonly ready: number;
}

/** Split the slots of one pool; `turn` changes who is first where not all can be served. The sum is `slots`. */
export function split(slots: number, wants: readonly Want[], turn: number): number[] {
  const total = wants.reduce((sum, { held, ready }) => sum + held + ready, 0);
  if (total <= slots) {
    const each = Math.floor((slots - total) / wants.length);
    const rest = (slots - total) % wants.length;
    return wants.map(({ held, ready }, index) => held + ready + each + (index < rest ? 1 : 0));
  }
  const turned = wants.map((want, index) => ({
    want,
    index,
    place: (index - (turn % wants.length) + wants.length) % wants.length,
  }));
  turned.sort((one, other) => one.place - other.place);
  const shares = wants.map(() => 0);
  const give = (indexes: readonly number[]): void => {
    for (const index of indexes) {
      shares[index] = (shares[index] ?? 0) + 1;
    }
  };
  const byUrgency = [...turned].sort((one, other) => urgency(one.want) - urgency(other.want));
  give(byUrgency.slice(0, slots).map(({ index }) => index));
  const left = Math.max(slots - wants.length, 0);
  const exact = wants.map(({ held, ready }) => (left * (held + ready)) / total);
  exact.forEach((share, index) => {
    shares[index] = (shares[index] ?? 0) + Math.floor(share);
  });
  const fraction = (index: number): number => (exact[index] ?? 0) % 1;
  const byFraction = [...byUrgency].sort((one, other) => fraction(other.index) - fraction(one.index));
  const missing = slots - shares.reduce((sum, share) => sum + share, 0);
  give(byFraction.slice(0, missing).map(({ index }) => index));
  return shares;
}

function urgency({ held, ready }: Want): number {
  return ready > 0 ? 0 : held > 0 ? 1 : 2;
}

interface Grant {
  target: Map<string, number>;
  /** What the stream was told last. */
  granted: Map<string, number>;
  /** Undefined before its welcome: until then it has no part in the split. */
  sec: string | undefined;
  ready: Map<string, number>;
}

export type Used = (sec: string, pool: string) => number;

export class Windows {
  /** When `tick` has something to do. */
  splitAt = Number.POSITIVE_INFINITY;
  private readonly grants = new Map<string, Grant>();
  /** What is granted to nobody, by pool. */
  private readonly free: Map<string, number>;
  private turn = 0;
  private splitLast = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly slots: ReadonlyMap<string, number>,
    private readonly used: Used,
  ) {
    this.free = new Map(slots);
  }

  /** How many streams have a part in the slots. */
  get streamCount(): number {
    return this.grants.size;
  }

  /** A stream begins. Until its welcome it may be granted what is free; nothing is taken from others for it. */
  opened(address: string): void {
    const granted = new Map([...this.slots.keys()].map((pool) => [pool, 0]));
    this.grants.set(address, { target: new Map(this.free), granted, sec: undefined, ready: new Map() });
  }

  /** From here on it takes part. */
  welcomed(address: string, sec: string, now: number): void {
    const grant = this.grants.get(address);
    if (grant !== undefined) {
      grant.sec = sec;
      this.splitNow(now);
    }
  }

  /** What it had is free. */
  ended(address: string, now: number): void {
    const grant = this.grants.get(address);
    if (grant !== undefined) {
      this.grants.delete(address);
      for (const [pool, count] of grant.granted) {
        this.free.set(pool, (this.free.get(pool) ?? 0) + count);
      }
      this.splitNow(now);
    }
  }

  /** A SEC says what waits there. Of pools that it does not name what it said before stands. */
  demand(address: string, demands: readonly Demand[], now: number): void {
    const grant = this.grants.get(address);
    for (const demand of demands) {
      if (this.slots.has(demand.slotPool)) {
        grant?.ready.set(demand.slotPool, Math.max(demand.readyCount, 0));
      }
    }
    const at = this.splitLast + SPLIT_MS;
    if (at <= now) {
      this.splitNow(now);
    } else {
      this.splitAt = Math.min(at, this.splitAt);
    }
  }

  /** Split anew, if that is due. */
  tick(now: number): void {
    if (now >= this.splitAt) {
      this.splitNow(now);
    }
  }

  /** Whether a stream is to be told another window; `closed`: nobody is to get anything. */
  hasNews(address: string, closed: boolean): boolean {
    const grant = this.grants.get(address);
    if (grant !== undefined) {
      for (const [pool, granted] of grant.granted) {
        if (this.due(grant, pool, granted, closed) !== granted) {
          return true;
        }
      }
    }
    return false;
  }

  /** The window of a stream, which is told now. */
  tell(address: string, closed: boolean): Map<string, number> {
    const grant = this.grants.get(address);
    if (grant === undefined) {
      return new Map();
    }
    for (const [pool, granted] of [...grant.granted]) {
      const window = this.due(grant, pool, granted, closed);
      this.free.set(pool, (this.free.get(pool) ?? 0) + granted - window);
      grant.granted.set(pool, window);
    }
    return new Map(grant.granted);
  }

  /** Whether a stream was told that it may send anything. */
  hasGranted(address: string): boolean {
    return [...(this.grants.get(address)?.granted.values() ?? [])].some((count) => count > 0);
  }

  private due(grant: Grant, pool: string, granted: number, closed: boolean): number {
    return closed ? 0 : Math.min(grant.target.get(pool) ?? 0, granted + (this.free.get(pool) ?? 0));
  }

  private splitNow(now: number): void {
    this.splitLast = now;
    this.splitAt = Number.POSITIVE_INFINITY;
    this.turn += 1;
    const takingPart = [...this.grants.values()].filter((grant) => grant.sec !== undefined);
    if (takingPart.length === 0) {
      return;
    }
    const alone = takingPart.length === 1;
    for (const [pool, slots] of this.slots) {
      const wants = takingPart.map((grant) => ({
        held: alone ? 0 : this.used(grant.sec ?? "", pool),
        ready: alone ? 0 : (grant.ready.get(pool) ?? 0),
      }));
      const shares = split(slots, wants, this.turn);
      takingPart.forEach((grant, index) => grant.target.set(pool, shares[index] ?? 0));
    }
    if (!alone && takingPart.some((grant) => [...grant.ready.values()].some((count) => count > 0))) {
      this.splitAt = now + SPLIT_MS; // what each holds changes while work waits
    }
  }
}
