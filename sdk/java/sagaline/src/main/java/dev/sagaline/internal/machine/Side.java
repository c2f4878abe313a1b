package dev.sagaline.internal.machine;

import dev.sagaline.v1.Invocation;

/** What a worker serves: an action or its undo action, at a version. */
public record Side(String action, String version, int kind) {
  public static Side of(Invocation invocation) {
    String version = invocation.getVersion().isEmpty() ? "1" : invocation.getVersion();
    return new Side(invocation.getAction(), version, invocation.getRef().getKindValue());
  }
}
