package dev.sagaline;

/** A value does not fit its type, or can't be a payload. */
public final class ConversionException extends SagalineException {
  private static final long serialVersionUID = 1;

  public ConversionException(String message) {
    super(message, null);
  }

  public ConversionException(String message, Throwable cause) {
    super(message, cause);
  }
}
