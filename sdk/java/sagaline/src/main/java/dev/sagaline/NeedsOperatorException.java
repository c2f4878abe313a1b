package dev.sagaline;

import dev.sagaline.v1.Saga;

/** A saga has not ended, and only an operator can bring it further: it is stuck, holds a node, or is quarantined. */
public final class NeedsOperatorException extends SagalineException {
  private static final long serialVersionUID = 1;

  private final transient Saga saga;

  NeedsOperatorException(Saga saga) {
    super("saga " + saga.getSagaId() + " needs an operator: `sagaline why " + saga.getSagaId() + "` tells what for", null);
    this.saga = saga;
  }

  /**
   * The saga as it stood then, without its nodes. One that {@link Client#run} had on a stream with others has nothing but what it
   * was created with and what its end tells: no times, owner, epoch and length of its log, which {@link Client#get} gives.
   */
  public Saga saga() {
    return saga;
  }
}
