package dev.sagaline;

/** Why an attempt was asked to stop. */
public enum StopReason {
  /** Advice: the attempt may as well go on, for what it does will be undone. All others are orders. */
  SAGA_UNWINDING,
  TIMED_OUT,
  /** A later attempt, or an operator, decided the node. */
  SUPERSEDED,
  /** The SEC does not know the attempt. */
  NOT_FOUND,
  WORKER_STOPPING
}
