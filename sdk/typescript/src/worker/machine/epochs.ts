/**
 * The highest ownership epoch seen of each saga, so that a SEC that lost a saga can't start anything here.
 *
 * It is compared for the whole saga: a late action of the old owner must not run beside the new owner's undo of the same
 * node, although their idempotency keys differ. Bounded: the sagas seen least recently are forgotten.
 */

import { EPOCHS_MAX } from "./limits.js";

export class Epochs {
  private readonly highest = new Map<string, bigint>();

  constructor(private readonly sagasMax = EPOCHS_MAX) {}

  /** Whether a higher epoch has been seen. */
  isStale(sagaId: string, epoch: bigint): boolean {
    return epoch < (this.highest.get(sagaId) ?? 0n);
  }

  /** Remember an epoch, if it is the highest. */
  see(sagaId: string, epoch: bigint): void {
    const known = this.highest.get(sagaId) ?? 0n;
    this.highest.delete(sagaId);
    this.highest.set(sagaId, epoch > known ? epoch : known);
    if (this.highest.size > this.sagasMax) {
      for (const oldest of this.highest.keys()) {
        this.highest.delete(oldest);
        break;
      }
    }
  }
}
