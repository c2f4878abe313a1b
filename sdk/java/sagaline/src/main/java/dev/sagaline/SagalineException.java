package dev.sagaline;

/** What all exceptions of this SDK have in common. */
public class SagalineException extends RuntimeException {
  private static final long serialVersionUID = 1;

  protected SagalineException(String message, Throwable cause) {
    super(message, cause);
  }
}
