/**
 * Which way a result takes: to its saga's owner on a stream, to the owner's address by a call, or to any SEC to ask. A
 * SEC that is not the owner answers with the owner's name, so whoever can be reached is a way to find out.
 *
 * A *lane* is where a result is queued: the name of a SEC, for its stream, or `CALL` and an address.
 */

import { ADDRESSES_MAX, CALLS_MAX, searchMillis } from "./limits.js";

/** What the lane of a call begins with. No SEC has such a name: there is a space in it. */
export const CALL = "call ";

export class Routes {
  /** Whether streams are held or tried to an address: where they can't be had, a call would fail as well. */
  isLinked: (address: string) => boolean = () => false;
  private readonly open = new Set<string>();
  private readonly addresses = new Map<string, string>();
  private readonly calls = new Map<string, { underWay: boolean; failures: number; notBefore: number }>();
  private turn = 0;

  opened(sec: string): void {
    this.open.add(sec);
  }

  closed(sec: string): void {
    this.open.delete(sec);
  }

  isOpen(sec: string): boolean {
    return this.open.has(sec);
  }

  /** Note where a SEC can be dialled. */
  learn(sec: string, address: string): void {
    if (sec === "" || address === "") {
      return;
    }
    this.addresses.set(sec, address);
    if (this.addresses.size > ADDRESSES_MAX) {
      for (const first of this.addresses.keys()) {
        this.addresses.delete(first);
        break;
      }
    }
  }

  /** The lane for a result of this owner ("" if it is not known); undefined while there is no way at all. */
  laneTo(owner: string, now: number): string | undefined {
    if (this.open.has(owner)) {
      return owner;
    }
    const address = this.addresses.get(owner);
    if (address !== undefined && !this.isLinked(address) && now >= (this.calls.get(address)?.notBefore ?? now)) {
      return CALL + address;
    }
    if (this.open.size === 0) {
      return undefined;
    }
    this.turn = (this.turn + 1) % this.open.size;
    return [...this.open][this.turn];
  }

  /** Whether a call may be made now: one at a time to each address, and few at all. It then counts as made. */
  beginCall(address: string): boolean {
    const underWay = [...this.calls.values()].filter((call) => call.underWay).length;
    const call = this.calls.get(address) ?? { underWay: false, failures: 0, notBefore: Number.NEGATIVE_INFINITY };
    if (call.underWay || underWay >= CALLS_MAX) {
      return false;
    }
    call.underWay = true;
    this.calls.set(address, call);
    return true;
  }

  /** A call has ended. After one without an answer the next waits, longer each time. */
  endCall(address: string, answered: boolean, now: number): void {
    const call = this.calls.get(address);
    if (call === undefined) {
      return;
    }
    if (answered) {
      this.calls.delete(address);
      return;
    }
    call.underWay = false;
    call.failures += 1;
    call.notBefore = now + searchMillis(call.failures);
  }
}
