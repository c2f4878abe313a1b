package dev.sagaline;

import dev.sagaline.v1.BatchError;
import io.grpc.Status;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** An error of the client API. */
public final class SagaException extends SagalineException {
  private static final long serialVersionUID = 1;

  private final Status.Code code;
  private final String reason;
  private final transient Map<String, String> problems;
  private final Duration retryAfter;

  SagaException(
      Status.Code code, String reason, String message, Map<String, String> problems, Duration retryAfter, Throwable cause) {
    super((reason.isEmpty() ? code.toString() : reason) + ": " + message + text(problems), cause);
    this.code = code;
    this.reason = reason;
    this.problems = Map.copyOf(problems);
    this.retryAfter = retryAfter;
  }

  /** One that no SEC gave. */
  static SagaException of(Status.Code code, String message) {
    return new SagaException(code, "", message, Map.of(), null, null);
  }

  /** Of one saga of a batch. */
  static SagaException of(BatchError error) {
    Map<String, String> problems = new LinkedHashMap<>();
    error.getProblemsList().forEach(problem -> problems.put(problem.getField(), problem.getMessage()));
    var code = Status.fromCodeValue(error.getCode()).getCode();
    return new SagaException(code, error.getReason(), error.getMessage(), problems, null, null);
  }

  private static String text(Map<String, String> problems) {
    StringBuilder text = new StringBuilder();
    problems.forEach((field, problem) -> text.append("; ").append(field).append(": ").append(problem));
    return text.toString();
  }

  public Status.Code code() {
    return code;
  }

  /** A stable code, such as "SAGA_NOT_FOUND"; "" where the call did not reach a SEC. Treat one that you don't know by {@link #code}. */
  public String reason() {
    return reason;
  }

  /** By field, of a request that is refused as a whole. */
  public Map<String, String> problems() {
    return problems;
  }

  /** When to try again, where the SEC says so. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }
}
