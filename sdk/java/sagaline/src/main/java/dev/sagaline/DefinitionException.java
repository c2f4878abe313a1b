package dev.sagaline;

/** An action, a graph or a worker can't be as it was asked for. */
public final class DefinitionException extends SagalineException {
  private static final long serialVersionUID = 1;

  DefinitionException(String message) {
    super(message, null);
  }
}
