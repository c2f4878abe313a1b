package dev.sagaline;

import java.time.Duration;
import java.util.List;

/**
 * When an attempt is tried again. What is not said takes its default: 5 attempts of an action and no bound for an undo action,
 * from 1 s, doubling, to 60 s, a fifth of it random. It is immutable; its methods give copies.
 */
public final class RetryPolicy {
  /** All defaults. */
  public static final RetryPolicy DEFAULT = new RetryPolicy(dev.sagaline.v1.RetryPolicy.getDefaultInstance());

  private final dev.sagaline.v1.RetryPolicy message;

  private RetryPolicy(dev.sagaline.v1.RetryPolicy message) {
    this.message = message;
  }

  /** Most attempts, the first included. */
  public RetryPolicy maxAttempts(int most) {
    Check.between("max attempts", most, 1, 1_000_000);
    return new RetryPolicy(message.toBuilder().setMaxAttempts(most).build());
  }

  /** No bound, such as for what comes after a pivot. */
  public RetryPolicy unbounded() {
    return new RetryPolicy(message.toBuilder().setMaxAttempts(-1).build());
  }

  /** Delay before the second attempt. */
  public RetryPolicy initialBackoff(Duration delay) {
    return new RetryPolicy(message.toBuilder().setInitialBackoff(Check.length("initial backoff", delay, 0)).build());
  }

  /** Greatest delay. */
  public RetryPolicy maxBackoff(Duration delay) {
    return new RetryPolicy(message.toBuilder().setMaxBackoff(Check.length("greatest backoff", delay, 0)).build());
  }

  /** Factor from each delay to the next. */
  public RetryPolicy multiplier(double factor) {
    Check.between("multiplier", factor, 1, 100);
    return new RetryPolicy(message.toBuilder().setMultiplier(factor).build());
  }

  /** Share of the delay that is random, 0 to 1. */
  public RetryPolicy jitter(double share) {
    Check.between("jitter", share, 0, 1);
    return new RetryPolicy(message.toBuilder().setJitter(share).build());
  }

  /** No new attempt later than this after the first start. */
  public RetryPolicy totalTimeout(Duration time) {
    return new RetryPolicy(message.toBuilder().setTotalTimeout(Check.length("total timeout", time, 0)).build());
  }

  /** Types of failures that are not tried again. */
  public RetryPolicy nonRetryable(String... types) {
    return new RetryPolicy(message.toBuilder().addAllNonRetryableFailureTypes(List.of(types)).build());
  }

  dev.sagaline.v1.RetryPolicy message() {
    return message;
  }
}
