package dev.sagaline;

/** Why a worker ended although nobody asked it to: another process uses its id. */
public final class WorkerReplacedException extends SagalineException {
  private static final long serialVersionUID = 1;

  WorkerReplacedException(String message) {
    super(message, null);
  }
}
