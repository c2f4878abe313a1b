package dev.sagaline;

import java.util.List;

/**
 * What an action or undo action says of its attempt by throwing it: {@link FailedException}, {@link RetryException} or {@link
 * HoldException}. Every other exception leaves it unknown whether the attempt had an effect: the SEC tries it again with the
 * same idempotency key, or undoes it as unknown.
 */
public abstract sealed class OutcomeException extends SagalineException
    permits FailedException, RetryException, HoldException {
  private static final long serialVersionUID = 1;

  private final String type;
  private final transient List<Object> details;

  OutcomeException(String type, String message, Throwable cause, List<?> details) {
    super(message, cause);
    this.type = type;
    this.details = List.copyOf(details);
  }

  /** A stable name that programs compare, such as "PaymentDeclined". */
  public final String type() {
    return type;
  }

  /** For code; at most 4, of 16 KiB together, are sent. */
  public final List<Object> details() {
    return details;
  }
}
