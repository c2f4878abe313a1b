package dev.sagaline.internal.machine;

import dev.sagaline.v1.Failure;
import dev.sagaline.v1.FailureDisposition;
import dev.sagaline.v1.FailureSource;
import dev.sagaline.v1.InvocationResult;
import dev.sagaline.v1.Payload;
import java.nio.charset.StandardCharsets;

/** Keeps failures to the bounds of failure.proto, by cutting (W31). */
final class Failures {
  private static final int TYPE_BYTES = 128;
  private static final int MESSAGE_BYTES = 4 << 10;
  private static final int STACK_BYTES = 16 << 10;
  private static final int DETAILS_MAX = 4;
  private static final int DETAILS_BYTES = 16 << 10;
  private static final int DEPTH_MAX = 4;

  private Failures() {}

  /** The failure of an attempt whose output can't be sent: its effect stands, so an operator decides. */
  static Failure payloadTooLarge(int size, int most) {
    return Failure.newBuilder()
        .setType("sagaline.PayloadTooLarge")
        .setMessage("the output has " + size + " bytes encoded, and " + most + " are allowed; pass a reference to it instead")
        .setDisposition(FailureDisposition.FAILURE_DISPOSITION_HOLD)
        .setSource(FailureSource.FAILURE_SOURCE_CONVERSION)
        .build();
  }

  /** The result of an attempt. What can't be sent whole is told as a failure instead. */
  static InvocationResult resultOf(Attempt attempt, Outcome outcome, int payloadBytes) {
    var result = InvocationResult.newBuilder().setRef(attempt.invocation.getRef()).setEpoch(attempt.epoch);
    Failure failure = outcome.failure();
    if (failure == null) {
      Payload output = outcome.output() == null ? Payload.getDefaultInstance() : outcome.output();
      int size = output.getSerializedSize();
      if (size <= payloadBytes) {
        return result.setOutput(output).build();
      }
      failure = payloadTooLarge(size, payloadBytes);
    }
    return result.setFailure(bounded(failure, payloadBytes)).build();
  }

  /** Cuts a failure to its limits and to a number of bytes in all; what helps least goes first. */
  static Failure bounded(Failure failure, int most) {
    Failure cut = cut(failure, 1);
    if (cut.getSerializedSize() > most) {
      cut = cut.toBuilder().clearDetails().build();
    }
    if (cut.getSerializedSize() > most) {
      cut = cut.toBuilder().clearCause().build();
    }
    if (cut.getSerializedSize() > most) {
      cut = cut.toBuilder().clearStackTrace().build();
    }
    return cut;
  }

  private static Failure cut(Failure failure, int depth) {
    var cut = failure.toBuilder().clearDetails().clearCause();
    cut.setType(cutText(failure.getType(), TYPE_BYTES));
    cut.setMessage(cutText(failure.getMessage(), MESSAGE_BYTES));
    cut.setStackTrace(cutText(failure.getStackTrace(), STACK_BYTES));
    int bytes = 0;
    for (Payload detail : failure.getDetailsList()) {
      bytes += detail.getSerializedSize();
      if (cut.getDetailsCount() >= DETAILS_MAX || bytes > DETAILS_BYTES) {
        break;
      }
      cut.addDetails(detail);
    }
    if (depth < DEPTH_MAX && failure.hasCause()) {
      cut.setCause(cut(failure.getCause(), depth + 1));
    }
    return cut.build();
  }

  /** Cuts to a number of bytes, between characters; what is no Unicode becomes "?", for no message could carry it. */
  static String cutText(String text, int most) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int end = Math.min(most, bytes.length);
    while (end > 0 && end < bytes.length && (bytes[end] & 0xC0) == 0x80) {
      end--;
    }
    return new String(bytes, 0, end, StandardCharsets.UTF_8);
  }
}
