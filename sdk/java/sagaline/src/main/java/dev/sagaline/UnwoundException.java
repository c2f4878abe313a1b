package dev.sagaline;

import dev.sagaline.v1.Saga;
import java.util.Optional;

/** A saga has unwound: all that it did is undone. */
public final class UnwoundException extends SagalineException {
  private static final long serialVersionUID = 1;

  private final transient Saga saga;

  UnwoundException(Saga saga) {
    super(
        "saga " + saga.getSagaId() + " was unwound: " + saga.getFailedNode() + ": " + saga.getFailure().getType() + ": "
            + saga.getFailure().getMessage(),
        null);
    this.saga = saga;
  }

  /**
   * The saga as it stood then, without its nodes. One that {@link Client#run} had on a stream with others has nothing but what it
   * was created with and what its end tells: no times, owner, epoch and length of its log, which {@link Client#get} gives.
   */
  public Saga saga() {
    return saga;
  }

  public Optional<FailureInfo> failure() {
    return saga.hasFailure() ? Optional.of(FailureInfo.of(saga.getFailure())) : Optional.empty();
  }
}
