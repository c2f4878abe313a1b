/**
 * What is still to be reported on one stream, told in as many frames as it needs. States are looked up when a frame is
 * made, not when they were asked for: `complete` speaks of everything up to the `ack_sequence` of its frame.
 */

import { InFlightEntry, type InFlightReport, type InvocationRef } from "../../gen/sagaline/v1/worker_service.js";
import { keyOf } from "./attempts.js";
import type { Holdings } from "./holdings.js";
import { ASKED_MAX, ITEM_OVERHEAD_BYTES } from "./limits.js";
import { Queue } from "./queue.js";

export class Reports {
  private readonly asked = new Queue<InvocationRef>();
  private everythingDue = false;
  private of: string | undefined;
  private readonly told = new Set<string>();

  constructor(private readonly holdings: Holdings) {}

  get isDue(): boolean {
    return this.everythingDue || this.asked.length > 0;
  }

  /** A new stream: what was asked on the old one is answered by hello. */
  clear(): void {
    this.asked.clear();
    this.everythingDue = false;
  }

  /** Report all that is held of a SEC; undefined: of all, for nobody knows who will read it. */
  everything(of: string | undefined): void {
    if (!this.everythingDue || this.of !== undefined) {
      this.of = of;
    }
    this.everythingDue = true;
    this.told.clear();
  }

  /** Report these attempts, held or not. */
  about(refs: readonly InvocationRef[]): void {
    for (const ref of refs) {
      this.asked.push(ref);
      if (this.asked.length > ASKED_MAX) {
        this.asked.shift();
      }
    }
  }

  /** The next part, of at most `budget` bytes, and what is left of the budget. */
  take(budget: number): { report: InFlightReport; left: number } {
    const report: InFlightReport = { complete: false, entries: [] };
    let left = budget;
    const add = (entry: InFlightEntry): boolean => {
      const size = InFlightEntry.encode(entry).finish().length + ITEM_OVERHEAD_BYTES;
      if (size > left) {
        return false;
      }
      left -= size;
      report.entries.push(entry);
      return true;
    };
    for (let ref = this.asked.peek(); ref !== undefined; ref = this.asked.peek()) {
      if (!add({ ref, state: this.holdings.stateOf(ref) })) {
        return { report, left };
      }
      this.asked.shift();
    }
    if (this.everythingDue) {
      this.tellEverything(report, add);
    }
    return { report, left };
  }

  private tellEverything(report: InFlightReport, add: (entry: InFlightEntry) => boolean): void {
    for (const { ref, state } of this.holdings.report(this.of)) {
      const key = keyOf(ref);
      if (!this.told.has(key)) {
        if (!add({ ref, state })) {
          return;
        }
        this.told.add(key);
      }
    }
    report.complete = true;
    this.everythingDue = false;
  }
}
