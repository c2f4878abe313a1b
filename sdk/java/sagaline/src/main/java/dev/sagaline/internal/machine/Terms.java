package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import com.google.protobuf.Duration;
import dev.sagaline.v1.Welcome;

/** What a Welcome sets for one stream. */
record Terms(long heartbeatInterval, long heartbeatTimeout, int frameBytes, int payloadBytes) {
  static final Terms DEFAULT = new Terms(5 * SECOND, 15 * SECOND, FRAME_BYTES, PAYLOAD_BYTES);

  /** Takes the default for what a SEC leaves out, and bounds what could not work. */
  static Terms of(Welcome welcome) {
    long interval = heartbeat(welcome.getHeartbeatInterval(), DEFAULT.heartbeatInterval);
    long timeout = Math.max(heartbeat(welcome.getHeartbeatTimeout(), DEFAULT.heartbeatTimeout), 2 * interval);
    int frame = welcome.getMaxFrameBytes();
    frame = frame > 0 ? Math.min(Math.max(frame, FRAME_BYTES_MIN), FRAME_BYTES) : FRAME_BYTES;
    int payload = welcome.getMaxPayloadBytes();
    payload = payload > 0 ? Math.min(payload, PAYLOAD_BYTES) : PAYLOAD_BYTES;
    return new Terms(interval, timeout, frame, Math.max(1, Math.min(payload, frame - PAYLOAD_MARGIN)));
  }

  private static long heartbeat(Duration given, long absent) {
    long nanos = nanosOf(given);
    return nanos > 0 ? Math.min(Math.max(nanos, HEARTBEAT_MIN), HEARTBEAT_MAX) : absent;
  }
}
