package dev.sagaline;

import java.util.List;

/**
 * There was no effect, in this or any earlier attempt: the saga unwinds, and this node is not undone. Thrown by an undo action
 * it says that it can never succeed, and the saga is stuck until an operator decides.
 *
 * <p>It is a promise. Where you do not know, throw any other exception.
 */
public final class FailedException extends OutcomeException {
  private static final long serialVersionUID = 1;

  public FailedException(String type, String message) {
    this(type, message, null);
  }

  public FailedException(String type, String message, Throwable cause, Object... details) {
    super(type, message, cause, List.of(details));
  }
}
