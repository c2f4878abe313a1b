package dev.sagaline;

import java.util.List;

/** Neither a retry nor an undo is right: an operator has to look. */
public final class HoldException extends OutcomeException {
  private static final long serialVersionUID = 1;

  public HoldException(String type, String message) {
    this(type, message, null);
  }

  public HoldException(String type, String message, Throwable cause, Object... details) {
    super(type, message, cause, List.of(details));
  }
}
