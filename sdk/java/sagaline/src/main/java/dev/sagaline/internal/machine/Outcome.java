package dev.sagaline.internal.machine;

import dev.sagaline.v1.Failure;
import dev.sagaline.v1.Payload;

/** How an attempt ended: with a failure, or, where that is null, with an output. */
public record Outcome(Payload output, Failure failure) {
  public static Outcome succeeded(Payload output) {
    return new Outcome(output, null);
  }

  public static Outcome failed(Failure failure) {
    return new Outcome(null, failure);
  }
}
