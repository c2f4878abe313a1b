package dev.sagaline;

import dev.sagaline.v1.Failure;
import java.util.Optional;

/** A failure as it stands in a saga's log. */
public record FailureInfo(String type, String message, Optional<FailureInfo> cause) {
  public static FailureInfo of(Failure failure) {
    Optional<FailureInfo> cause = failure.hasCause() ? Optional.of(of(failure.getCause())) : Optional.empty();
    return new FailureInfo(failure.getType(), failure.getMessage(), cause);
  }
}
