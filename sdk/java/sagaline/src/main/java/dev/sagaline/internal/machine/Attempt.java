package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.NEVER;

import dev.sagaline.v1.InFlightState;
import dev.sagaline.v1.Invocation;

/** One attempt that this worker was sent and that has not ended. */
public final class Attempt {
  enum State {
    /** Waits for a slot or for its node; can still be rejected. */
    QUEUED,
    /** Was handed to user code: only a result can answer it. */
    RUNNING,
    ENDED
  }

  public final Ref ref;
  public final Invocation invocation;
  final String pool;
  /** The SEC that its result goes to: the last that sent or adopted it, or that its saga moved to. */
  String sec;
  long epoch;
  State state = State.QUEUED;
  StopCause stopped;
  /** When start_to_close is over. */
  long until = NEVER;

  Attempt(Ref ref, Invocation invocation, String pool, String sec) {
    this.ref = ref;
    this.invocation = invocation;
    this.pool = pool;
    this.sec = sec;
    this.epoch = invocation.getEpoch();
  }

  /** When it is asked to stop because its time is over; null: never. */
  public Long deadline() {
    return until == NEVER ? null : until;
  }

  InFlightState inFlightState() {
    return state == State.QUEUED ? InFlightState.IN_FLIGHT_STATE_QUEUED : InFlightState.IN_FLIGHT_STATE_RUNNING;
  }
}
