package dev.sagaline;

import io.grpc.Status;

/** An error of the client API. */
public final class SagaException extends SagalineException {
  private static final long serialVersionUID = 1;

  private final Status.Code code;
  private final String reason;

  SagaException(Status.Code code, String reason, String message, Throwable cause) {
    super((reason.isEmpty() ? code.toString() : reason) + ": " + message, cause);
    this.code = code;
    this.reason = reason;
  }

  public Status.Code code() {
    return code;
  }

  /** A stable code, such as "SAGA_NOT_FOUND"; "" where the call did not reach a SEC. Treat one that you don't know by {@link #code}. */
  public String reason() {
    return reason;
  }
}
