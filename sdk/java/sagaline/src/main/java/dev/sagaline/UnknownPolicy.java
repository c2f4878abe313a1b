package dev.sagaline;

/** What to do with a node whose outcome stays unknown. */
public enum UnknownPolicy {
  /** Try again until the answer is definite or attempts run out; then undo it as unknown. */
  RETRY_THEN_UNDO(dev.sagaline.v1.UnknownPolicy.UNKNOWN_POLICY_RETRY_THEN_UNDO),
  /** Undo it as unknown at once. */
  UNDO(dev.sagaline.v1.UnknownPolicy.UNKNOWN_POLICY_UNDO),
  /** Try again; when attempts run out, hold it for an operator. */
  HOLD(dev.sagaline.v1.UnknownPolicy.UNKNOWN_POLICY_HOLD);

  final dev.sagaline.v1.UnknownPolicy message;

  UnknownPolicy(dev.sagaline.v1.UnknownPolicy message) {
    this.message = message;
  }
}
