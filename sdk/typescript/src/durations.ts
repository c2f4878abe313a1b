/** Durations of the protocol as milliseconds, and back. */

import type { Duration } from "./gen/google/protobuf/duration.js";

export function millisOf(duration: Duration): number {
  return Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

export function durationOf(millis: number): Duration {
  const seconds = Math.floor(millis / 1_000);
  return {
    seconds: BigInt(seconds),
    nanos: Math.min(999_999_999, Math.max(0, Math.round((millis - seconds * 1_000) * 1e6))),
  };
}
