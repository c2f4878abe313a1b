/**
 * What is counted over all streams of this worker, and which of them leads to which SEC. Streams are told apart by the
 * address that was dialled. Numbers grow over all of them, so that they grow for each SEC wherever it is reached.
 */

export class Streams {
  private readonly open = new Map<string, { epoch: number; sec: string | undefined }>();
  private epoch = 0;
  private lastNonce = 0;

  /** A stream begins; returns its number. */
  opened(address: string): number {
    this.epoch += 1;
    this.open.set(address, { epoch: this.epoch, sec: undefined });
    return this.epoch;
  }

  welcomed(address: string, sec: string): void {
    const stream = this.open.get(address);
    if (stream !== undefined) {
      stream.sec = sec;
    }
  }

  /** A stream is over; returns the SEC that has none any more because of that. */
  ended(address: string): string | undefined {
    const sec = this.open.get(address)?.sec;
    this.open.delete(address);
    return sec === undefined || [...this.open.values()].some((other) => other.sec === sec) ? undefined : sec;
  }

  nextNonce(): number {
    this.lastNonce += 1;
    return this.lastNonce;
  }

  /** Number of the last heartbeat. */
  get nonce(): number {
    return this.lastNonce;
  }

  /** Whether a younger stream of this worker may have replaced it: of the same SEC, or not welcomed yet. */
  replacedByUs(address: string): boolean {
    const mine = this.open.get(address);
    return (
      mine !== undefined &&
      [...this.open.values()].some(
        (other) => other.epoch > mine.epoch && (other.sec === undefined || other.sec === mine.sec),
      )
    );
  }
}
