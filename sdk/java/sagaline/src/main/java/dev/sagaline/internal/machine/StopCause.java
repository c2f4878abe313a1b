package dev.sagaline.internal.machine;

import dev.sagaline.v1.CancellationReason;

/** Why an attempt was asked to stop. */
public enum StopCause {
  SAGA_UNWINDING("the saga unwinds"),
  TIMED_OUT("timed out"),
  SUPERSEDED("superseded"),
  NOT_FOUND("not found"),
  WORKER_STOPPING("the worker stops");

  private final String text;

  StopCause(String text) {
    this.text = text;
  }

  @Override
  public String toString() {
    return text;
  }

  /**
   * Whether the attempt may as well go on: that a saga unwinds is no reason to tear it down, for what it did would then
   * not be known, and the action would have to run again before it could be undone.
   */
  public boolean isAdvice() {
    return this == SAGA_UNWINDING;
  }

  static StopCause of(CancellationReason reason) {
    return switch (reason) {
      case CANCELLATION_REASON_TIMED_OUT -> TIMED_OUT;
      case CANCELLATION_REASON_SUPERSEDED -> SUPERSEDED;
      case CANCELLATION_REASON_NOT_FOUND -> NOT_FOUND;
      default -> SAGA_UNWINDING;
    };
  }
}
