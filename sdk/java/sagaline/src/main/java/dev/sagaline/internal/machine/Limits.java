package dev.sagaline.internal.machine;

import com.google.protobuf.Duration;

/** Bounds and times of a worker. All times are nanoseconds. */
public final class Limits {
  public static final int PROTOCOL_VERSION = 1;

  /** What Capacity may grant. */
  public static final int SLOTS_MAX = 100_000;
  /** What Hello may list. */
  public static final int ACTIONS_MAX = 1_000;
  public static final int IDENTITY_BYTES = 256;
  public static final int BUILD_ID_BYTES = 128;
  public static final int LABELS_MAX = 32;
  public static final int LABEL_BYTES = 128;
  public static final int FRAME_BYTES = 1 << 20;
  /** The rest of the first frame is for what is held. */
  public static final int HELLO_BYTES_MAX = FRAME_BYTES / 2;

  static final long NEVER = Long.MAX_VALUE;
  static final long SECOND = 1_000_000_000L;
  static final long MILLISECOND = 1_000_000L;

  /** Invocations held beyond the slots, for each stream: a window that shrinks is overdrawn a little (W16). */
  static final int EXCESS_MAX = 1;

  // Results without a final acknowledgement at which the worker grants nothing, so that a slow log slows dispatch (W18);
  // it grants again below three quarters of both.
  static final long UNACKED_BYTES_MAX = 64L << 20;
  static final int UNACKED_RESULTS_MAX = 10_000;
  static final int RESUME_PERCENT = 75;

  /** Payload bytes that one SEC may have outstanding. */
  static final long OUTSTANDING_BYTES_MAX = 64L << 20;

  // Rejections kept until they were surely read. The oldest beyond that are forgotten: should their stream break just
  // then, they count as lost, which is safe and costs an attempt. So many as HURRY ask for an early heartbeat.
  static final int REJECTIONS_MAX = 10_000;
  static final int REJECTIONS_HURRY = 1_000;

  /** Sagas whose highest epoch is remembered (W21). */
  static final int EPOCHS_MAX = 65_536;
  /** SECs whose address is remembered. */
  static final int ADDRESSES_MAX = 1_000;
  /** Attempts asked about by name and not answered yet; older questions beyond that go unanswered. */
  static final int ASKED_MAX = 20_000;

  static final int CALLS_MAX = 4;
  static final int CALL_RESULTS_MAX = 1_000;

  static final long HANDSHAKE_TIME = 10 * SECOND;
  static final long HALF_CLOSE_TIME = 5 * SECOND;
  static final long CANCEL_GRACE = 5 * SECOND;
  /** A stream that was open so long and ends is no failure (W56). */
  static final long STEADY_TIME = SECOND;
  static final long RECONNECT_MIN = 100 * MILLISECOND;
  static final long RECONNECT_MAX = 10 * SECOND;
  /** Failures in a row after which the connection is thrown away (W57). */
  static final int FRESH_CHANNEL = 3;
  static final long PROGRESS_TIME = 100 * MILLISECOND;
  /** Windows follow demand at most so often. */
  static final long SPLIT_TIME = SECOND;
  static final long ASTRAY_TIME = 2 * SECOND;
  static final long SEARCH_MIN = 100 * MILLISECOND;
  static final long SEARCH_MAX = 10 * SECOND;
  static final long RETRY_DELAY = SECOND;
  static final long RETRY_DELAY_MIN = 50 * MILLISECOND;
  static final long RETRY_DELAY_MAX = 60 * SECOND;

  /** Tag and length of an item in a frame, generously. */
  static final int ITEM_OVERHEAD = 8;
  static final int FRAME_BYTES_MIN = 16 << 10;
  /** Room for the fields of fixed size. */
  static final int FRAME_RESERVE = 2 << 10;
  static final int PAYLOAD_BYTES = 256 << 10;
  /** What a frame holds beside its largest payload at least. */
  static final int PAYLOAD_MARGIN = 4 << 10;

  static final long HEARTBEAT_MIN = MILLISECOND;
  static final long HEARTBEAT_MAX = 300 * SECOND;

  private Limits() {}

  /** How long the search for a SEC that can take something rests after failures in a row. */
  static long searchDelay(int failures) {
    return Math.min(SEARCH_MAX, SEARCH_MIN << Math.min(failures - 1, 16));
  }

  /** A duration that a peer sent, as nanoseconds; what does not fit is cut. */
  public static long nanosOf(Duration d) {
    if (d.getSeconds() < 0 || d.getNanos() < 0) {
      return 0;
    }
    return d.getSeconds() > Long.MAX_VALUE / SECOND - 1 ? Long.MAX_VALUE : d.getSeconds() * SECOND + d.getNanos();
  }

  public static Duration durationOf(long nanos) {
    return Duration.newBuilder().setSeconds(nanos / SECOND).setNanos((int) (nanos % SECOND)).build();
  }

  /** Adds without running over. */
  static long after(long now, long delay) {
    return delay >= NEVER - Math.max(now, 0) ? NEVER - 1 : now + delay;
  }
}
