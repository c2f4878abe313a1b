package dev.sagaline;

import java.time.Duration;

/** Limits in time of each attempt. It is immutable; its methods give copies. */
public final class Timeouts {
  /** No limits. */
  public static final Timeouts NONE = new Timeouts(dev.sagaline.v1.Timeouts.getDefaultInstance());

  private final dev.sagaline.v1.Timeouts message;

  private Timeouts(dev.sagaline.v1.Timeouts message) {
    this.message = message;
  }

  /** How long the node may wait for a worker. */
  public Timeouts scheduleToStart(Duration time) {
    return new Timeouts(message.toBuilder().setScheduleToStart(Check.length("schedule to start", time, 1)).build());
  }

  /** How long an attempt may run; afterwards it is asked to stop, and its outcome is unknown. */
  public Timeouts startToClose(Duration time) {
    return new Timeouts(message.toBuilder().setStartToClose(Check.length("start to close", time, 1)).build());
  }

  /** How long user code may go without {@link ActionContext#heartbeat()}. */
  public Timeouts heartbeat(Duration time) {
    return new Timeouts(message.toBuilder().setHeartbeat(Check.length("heartbeat", time, 1)).build());
  }

  dev.sagaline.v1.Timeouts message() {
    return message;
  }
}
