package dev.sagaline;

import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** Asks to try again, perhaps after a delay. Whether there was an effect is not known. */
public final class RetryException extends OutcomeException {
  private static final long serialVersionUID = 1;

  private final Duration delay;

  public RetryException(String type, String message) {
    this(type, message, null, null);
  }

  /** With a null delay the node's policy decides. */
  public RetryException(String type, String message, Duration delay) {
    this(type, message, delay, null);
  }

  public RetryException(String type, String message, Duration delay, Throwable cause, Object... details) {
    super(type, message, cause, List.of(details));
    this.delay = delay;
  }

  public Optional<Duration> delay() {
    return Optional.ofNullable(delay);
  }
}
