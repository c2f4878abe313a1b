/** Which SECs there are, as they tell it themselves, and to which of them this worker is to hold streams. */

import type { SecSet } from "../../gen/sagaline/v1/worker_service.js";

export class Membership {
  /** The SECs to hold streams to, with where they can be dialled. */
  addresses: ReadonlyMap<string, string> = new Map();
  private revision = -1n;

  /** No SEC can be heard: whatever the next one says is taken, for revisions may begin anew. */
  forgetRevision(): void {
    this.revision = -1n;
  }

  /** True if this set is newer. One without SECs says nothing: somebody sent it. */
  take(set: SecSet): boolean {
    if (set.revision <= this.revision || set.secs.length === 0) {
      return false;
    }
    this.revision = set.revision;
    const dialable = set.secs.filter((sec) => sec.secId !== "" && sec.address !== "");
    const assigned = dialable.filter((sec) => set.assignedSecIds.includes(sec.secId));
    this.addresses = new Map((assigned.length > 0 ? assigned : dialable).map((sec) => [sec.secId, sec.address]));
    return true;
  }
}
