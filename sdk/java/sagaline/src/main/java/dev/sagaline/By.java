package dev.sagaline;

import dev.sagaline.v1.Attribution;

/** Who asks and why; it is stored in the log. */
public record By(String actor, String reason) {
  Attribution message() {
    return Attribution.newBuilder().setActor(actor).setReason(reason).build();
  }
}
