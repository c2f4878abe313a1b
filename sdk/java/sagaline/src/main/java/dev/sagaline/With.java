package dev.sagaline;

import dev.sagaline.v1.UndoKind;
import java.time.Duration;
import java.util.List;

/**
 * What a node has beside its inputs: {@code g.add("cut", cut, rack, With.pivot(), With.after(fleet))}. Each kind of node takes what
 * makes sense for it.
 */
public sealed interface With {
  /** Of nodes that run an action. */
  sealed interface OnAction extends OnActionMap {}

  /** Of map nodes whose elements run an action. */
  sealed interface OnActionMap extends With {}

  /** Of map nodes whose elements run a graph. */
  sealed interface OnGraphMap extends OnActionMap {}

  /** Of signal nodes. */
  sealed interface OnSignal extends With {}

  /** See {@link With#after}. */
  record After(List<Ref<?>> nodes) implements OnAction, OnGraphMap, OnSignal {}

  /** See {@link With#retry}. */
  record Retry(RetryPolicy policy) implements OnAction {}

  /** See {@link With#timeouts}. */
  record Limits(Timeouts timeouts) implements OnAction {}

  /** See {@link With#undo}, {@link With#noUndo}, {@link With#irreversible} and {@link With#forwardOnly}. */
  record Undone(UndoKind kind, boolean isForwardOnly) implements OnAction {}

  /** See {@link With#undoRetry}. */
  record UndoRetry(RetryPolicy policy) implements OnAction {}

  /** See {@link With#undoTimeouts}. */
  record UndoLimits(Timeouts timeouts) implements OnAction {}

  /** See {@link With#unknown}. */
  record Unknown(UnknownPolicy policy) implements OnAction {}

  /** See {@link With#pivot}. */
  record Pivot() implements OnAction {}

  /** See {@link With#maxConcurrency} and {@link With#canary}; 0 says nothing. */
  record Bounds(int maxConcurrency, int canary) implements OnGraphMap {}

  /** See {@link With#signal} and {@link With#timeout}; what is null is not said. */
  record Waiting(String signal, Duration timeout) implements OnSignal {}

  /** Nodes that must have succeeded before, beside those whose output is taken. */
  static After after(Ref<?>... nodes) {
    return new After(List.of(nodes));
  }

  /** When attempts of the action are tried again. */
  static Retry retry(RetryPolicy policy) {
    return new Retry(policy);
  }

  /** Limits of the attempts of the action. */
  static Limits timeouts(Timeouts timeouts) {
    return new Limits(timeouts);
  }

  /** It is undone by its undo action: the default, but for actions that are made here without one. */
  static Undone undo() {
    return new Undone(UndoKind.UNDO_KIND_ACTION, false);
  }

  /** There is nothing to undo: the default of actions that are made here without an undo action. */
  static Undone noUndo() {
    return new Undone(UndoKind.UNDO_KIND_NOOP, false);
  }

  /** It can't be undone: unwinding past it holds for an operator. */
  static Undone irreversible() {
    return new Undone(UndoKind.UNDO_KIND_NONE, false);
  }

  /** It can't be undone: once it has succeeded, the saga goes on forward instead of unwinding. */
  static Undone forwardOnly() {
    return new Undone(UndoKind.UNDO_KIND_NONE, true);
  }

  /** When attempts of the undo action are tried again. */
  static UndoRetry undoRetry(RetryPolicy policy) {
    return new UndoRetry(policy);
  }

  /** Limits of the attempts of the undo action. */
  static UndoLimits undoTimeouts(Timeouts timeouts) {
    return new UndoLimits(timeouts);
  }

  /** What to do when no definite answer can be had. */
  static Unknown unknown(UnknownPolicy policy) {
    return new Unknown(policy);
  }

  /** The point of no return. */
  static Pivot pivot() {
    return new Pivot();
  }

  /** Elements that may run at once. */
  static Bounds maxConcurrency(int most) {
    Check.between("max concurrency", most, 1, Integer.MAX_VALUE);
    return new Bounds(most, 0);
  }

  /** So many elements must succeed before the rest start. */
  static Bounds canary(int first) {
    Check.between("canary", first, 1, Integer.MAX_VALUE);
    return new Bounds(0, first);
  }

  /** The name of the signal, where that is not the node's. */
  static Waiting signal(String name) {
    Check.nodeName("a signal", name);
    return new Waiting(name, null);
  }

  /** How long to wait before the node fails. */
  static Waiting timeout(Duration time) {
    return new Waiting(null, time);
  }
}
