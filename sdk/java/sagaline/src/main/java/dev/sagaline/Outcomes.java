package dev.sagaline;

import dev.sagaline.internal.engine.Run;
import dev.sagaline.internal.machine.Limits;
import dev.sagaline.internal.machine.StopCause;
import dev.sagaline.v1.Failure;
import dev.sagaline.v1.FailureDisposition;
import dev.sagaline.v1.FailureSource;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.channels.ClosedByInterruptException;
import java.time.Duration;
import java.util.concurrent.CancellationException;

/** What an exception that left user code says of its attempt: the table of W26. */
final class Outcomes {
  private static final Duration RETRY_DELAY_MAX = Duration.ofDays(30);
  private static final int CAUSES_MAX = 20;

  private Outcomes() {}

  static Failure failureOf(Throwable thrown, Run run, PayloadCodec codec, boolean stackTraces) {
    if (thrown instanceof OutcomeException outcome) {
      return told(outcome, codec, stackTraces);
    }
    if (thrown instanceof Action.Misfit misfit) {
      String type = misfit.ofInput ? "sagaline.InputNotConvertible" : "sagaline.OutputNotConvertible";
      return failure(
              type, misfit.getMessage(), FailureDisposition.FAILURE_DISPOSITION_HOLD,
              FailureSource.FAILURE_SOURCE_CONVERSION)
          .build();
    }
    if (run.ordered.isDone() && isInterruption(thrown)) {
      return stopped(run);
    }
    var failure = retry(nameOf(thrown), textOf(thrown), FailureSource.FAILURE_SOURCE_APPLICATION);
    if (stackTraces) {
      failure.setStackTrace(traceOf(thrown));
    }
    if (thrown.getCause() != null && thrown.getCause() != thrown) {
      failure.setCause(causeOf(thrown.getCause()));
    }
    return failure.build();
  }

  private static Failure told(OutcomeException outcome, PayloadCodec codec, boolean stackTraces) {
    FailureDisposition disposition = FailureDisposition.FAILURE_DISPOSITION_RETRY;
    if (outcome instanceof FailedException) {
      disposition = FailureDisposition.FAILURE_DISPOSITION_FAIL;
    } else if (outcome instanceof HoldException) {
      disposition = FailureDisposition.FAILURE_DISPOSITION_HOLD;
    }
    var failure =
        failure(outcome.type(), textOf(outcome), disposition, FailureSource.FAILURE_SOURCE_APPLICATION);
    if (outcome instanceof RetryException retry && retry.delay().isPresent() && !retry.delay().get().isNegative()) {
      Duration delay = retry.delay().get();
      delay = delay.compareTo(RETRY_DELAY_MAX) > 0 ? RETRY_DELAY_MAX : delay;
      failure.setNextRetryDelay(Limits.durationOf(delay.toNanos()));
    }
    for (Object detail : outcome.details()) {
      try {
        failure.addDetails(codec.encode(detail));
      } catch (ConversionException e) {
        continue; // a detail that can't be sent must not hide the outcome
      }
    }
    if (outcome.getCause() != null) {
      failure.setCause(causeOf(outcome.getCause()));
    }
    if (stackTraces) {
      failure.setStackTrace(traceOf(outcome));
    }
    return failure.build();
  }

  private static Failure stopped(Run run) {
    if (run.isOverdue() && run.ordered.join() == StopCause.TIMED_OUT) {
      return retry(
              "sagaline.StartToCloseTimeout", "it ran longer than its start_to_close", FailureSource.FAILURE_SOURCE_TIMEOUT)
          .build();
    }
    return retry("sagaline.Cancelled", "cancelled: " + run.ordered.join(), FailureSource.FAILURE_SOURCE_CANCELLED).build();
  }

  /** Whether an exception says no more than that the thread was interrupted, or something it waited for was cancelled. */
  private static boolean isInterruption(Throwable thrown) {
    int depth = 0;
    for (Throwable t = thrown; t != null && depth < CAUSES_MAX; t = t.getCause(), depth++) {
      if (t instanceof InterruptedException || t instanceof CancellationException || t instanceof ClosedByInterruptException) {
        return true;
      }
    }
    return false;
  }

  private static Failure causeOf(Throwable cause) {
    Failure.Builder told = Failure.newBuilder().setType(nameOf(cause)).setMessage(textOf(cause));
    return told.build();
  }

  /** As code writes it, without its package, which other languages do not have; of an anonymous class what it extends. */
  private static String nameOf(Throwable thrown) {
    Class<?> type = thrown.getClass();
    while (type.getSimpleName().isEmpty()) {
      type = type.getSuperclass();
    }
    return type.getSimpleName();
  }

  private static String textOf(Throwable thrown) {
    return thrown.getMessage() == null ? "" : thrown.getMessage();
  }

  private static String traceOf(Throwable thrown) {
    StringWriter text = new StringWriter();
    thrown.printStackTrace(new PrintWriter(text));
    return text.toString();
  }

  private static Failure.Builder retry(String type, String message, FailureSource source) {
    return failure(type, message, FailureDisposition.FAILURE_DISPOSITION_RETRY, source);
  }

  private static Failure.Builder failure(
      String type, String message, FailureDisposition disposition, FailureSource source) {
    return Failure.newBuilder().setType(type).setMessage(message).setDisposition(disposition).setSource(source);
  }
}
