package dev.sagaline.internal.machine;

import dev.sagaline.v1.InvocationKind;
import dev.sagaline.v1.InvocationRef;

/** Names one attempt, on every SEC and every stream. The kind is its number, for it may be one that is not known here. */
public record Ref(String saga, String node, int kind, int attempt) {
  public static final int ACTION = InvocationKind.INVOCATION_KIND_ACTION_VALUE;
  public static final int UNDO = InvocationKind.INVOCATION_KIND_UNDO_VALUE;

  /** What user code runs once at a time for, whatever the side. */
  record Place(String saga, String node) {}

  public static Ref of(InvocationRef message) {
    return new Ref(message.getSagaId(), message.getNode(), message.getKindValue(), message.getAttempt());
  }

  InvocationRef message() {
    return InvocationRef.newBuilder().setSagaId(saga).setNode(node).setKindValue(kind).setAttempt(attempt).build();
  }

  Place place() {
    return new Place(saga, node);
  }

  boolean valid() {
    return !saga.isEmpty() && !node.isEmpty() && attempt > 0;
  }

  /** Whether a SEC may only ever have sent this attempt before another of the node: undo comes after action. */
  boolean before(Ref other) {
    return kind != other.kind ? kind < other.kind : attempt < other.attempt;
  }

  @Override
  public String toString() {
    return saga + "/" + node + (kind == UNDO ? "/undo/" : "/action/") + attempt;
  }
}
