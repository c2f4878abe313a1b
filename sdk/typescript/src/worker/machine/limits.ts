/**
 * Every bound and time of the worker, and what happens there. Times are in milliseconds, sizes in bytes. What a SEC's
 * welcome sets is a default here, in force until it comes.
 */

import type { Duration } from "../../gen/google/protobuf/duration.js";
import type { Welcome } from "../../gen/sagaline/v1/worker_service.js";
import { millisOf } from "../../durations.js";

export const PROTOCOL_VERSION = 1;

/** What Capacity may grant; more is refused when the worker is made. */
export const SLOTS_MAX = 100_000;
export const ACTIONS_MAX = 1_000;
export const IDENTITY_BYTES = 256;
export const BUILD_ID_BYTES = 128;
export const LABELS_MAX = 32;
export const LABEL_BYTES = 128;

/** Invocations held beyond the slots, for each stream: a window that shrinks is overdrawn a little. */
export const EXCESS_MAX = 1;
/** Windows follow demand at most once in this time. */
export const SPLIT_MS = 1_000;

/** Bytes of results without a final acknowledgement at which the worker grants 0, so that a slow log slows dispatch. */
export const UNACKED_BYTES_MAX = 64 * 1024 * 1024;
export const UNACKED_RESULTS_MAX = 10_000;
/** Grants are restored when both are below this share of their bound, so that they do not flap. */
export const RESUME_SHARE = 0.75;
/** Payload bytes that one SEC may have outstanding. */
export const OUTSTANDING_BYTES_MAX = 64 * 1024 * 1024;
/** Rejections kept until they are surely read; those forgotten beyond count as lost, which is safe. */
export const UNCONFIRMED_REJECTIONS_MAX = 10_000;
/** So many unconfirmed rejections ask for a heartbeat at once, because its echo confirms them. */
export const HEARTBEAT_EARLY_REJECTIONS = 1_000;
/** Sagas whose highest epoch is remembered; the least recently seen are forgotten. */
export const EPOCHS_MAX = 65_536;
/** Attempts asked about by name and not yet answered. */
export const ASKED_MAX = 20_000;

/** SECs whose address is remembered; what was learnt first goes first. */
export const ADDRESSES_MAX = 1_000;
/** Calls with results under way at the same time, to owners without a stream. */
export const CALLS_MAX = 4;
export const CALL_RESULTS_MAX = 1_000;
export const CALL_MS = 10_000;
/** How long a call or stream waits for the token that user code makes. */
export const TOKEN_MS = 10_000;
/** How long a result waits for the stream of its SEC before it is told to others. */
export const ASTRAY_MS = 2_000;
/** A search for a result's owner slows down from the one to the other. */
export const SEARCH_MS_MIN = 100;
export const SEARCH_MS_MAX = 10_000;

/** Tag and length of an item inside a frame, generously. */
export const ITEM_OVERHEAD_BYTES = 8;
export const FRAME_BYTES = 1024 * 1024;
export const FRAME_BYTES_MIN = 16 * 1024;
/** What a worker may say of itself; the rest of the first frame is for the report of what it holds. */
export const HELLO_BYTES_MAX = FRAME_BYTES / 2;
/** Room that a frame keeps for its fields of fixed size. */
export const FRAME_RESERVE_BYTES = 2 * 1024;
export const PAYLOAD_BYTES = 256 * 1024;
/** What a frame holds beside its largest payload at least, so that a result always fits into one. */
export const PAYLOAD_MARGIN_BYTES = 4 * 1024;

export const HANDSHAKE_MS = 10_000;
/** From having said everything to the SEC's end of the stream. */
export const HALF_CLOSE_MS = 5_000;
/** From the cancellation of what still runs at the end of a drain to leaving it behind. */
export const CANCEL_GRACE_MS = 5_000;
/** A stream that was open so long and then ends is no failure: the next is tried at once. */
export const STEADY_MS = 1_000;
export const RECONNECT_MS_MIN = 100;
export const RECONNECT_MS_MAX = 10_000;
/** After each so many failures in a row the channel is thrown away: its name lookups may be stale. */
export const FRESH_CHANNEL_FAILURES = 3;
/** At most one progress of an attempt in this time; later ones replace the one that waits. */
export const PROGRESS_MS = 100;
/** Before a result is sent again where the SEC asks for that and names no delay. */
export const RETRY_MS = 1_000;
export const RETRY_MS_MIN = 50;
export const RETRY_MS_MAX = 60_000;

/** How long a search for a SEC that can take something rests after so many failures in a row. */
export function searchMillis(failures: number): number {
  return Math.min(SEARCH_MS_MAX, SEARCH_MS_MIN * 2 ** Math.min(failures - 1, 16));
}

/** What a welcome sets for one stream. */
export interface Terms {
  readonly heartbeatInterval: number;
  readonly heartbeatTimeout: number;
  readonly frameBytes: number;
  readonly payloadBytes: number;
}

export const DEFAULT_TERMS: Terms = {
  heartbeatInterval: 5_000,
  heartbeatTimeout: 15_000,
  frameBytes: FRAME_BYTES,
  payloadBytes: PAYLOAD_BYTES,
};

/** What a SEC says, with the default for what it leaves out and bounds against what could not work. */
export function termsOf(welcome: Welcome): Terms {
  const heartbeatInterval = bounded(welcome.heartbeatInterval, DEFAULT_TERMS.heartbeatInterval);
  const heartbeatTimeout = bounded(welcome.heartbeatTimeout, DEFAULT_TERMS.heartbeatTimeout);
  const frameBytes = Math.min(Math.max(welcome.maxFrameBytes || FRAME_BYTES, FRAME_BYTES_MIN), FRAME_BYTES);
  const payloadBytes = Math.min(welcome.maxPayloadBytes || PAYLOAD_BYTES, PAYLOAD_BYTES);
  return {
    heartbeatInterval,
    heartbeatTimeout: Math.max(heartbeatTimeout, 2 * heartbeatInterval),
    frameBytes,
    payloadBytes: Math.max(1, Math.min(payloadBytes, frameBytes - PAYLOAD_MARGIN_BYTES)),
  };
}

function bounded(duration: Duration | undefined, otherwise: number): number {
  const millis = duration === undefined ? 0 : millisOf(duration);
  return millis > 0 ? Math.min(Math.max(millis, 1), 300_000) : otherwise;
}
