package dev.sagaline.conformance;

import dev.sagaline.Action;
import dev.sagaline.ActionContext;
import dev.sagaline.FailedException;
import dev.sagaline.FailureInfo;
import dev.sagaline.HoldException;
import dev.sagaline.Name;
import dev.sagaline.RetryException;
import dev.sagaline.Undo;
import dev.sagaline.v1.Sec;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** The actions that docs/sdk-authors.md names. */
final class Actions {
  record Value(Optional<Object> value) {}

  record Told(Optional<String> type, Optional<String> message, @Name("delay_ms") Optional<Double> delayMs) {
    String typeText() {
      return type.orElse("");
    }

    String messageText() {
      return message.orElse("");
    }
  }

  record Gate(Optional<String> name) {}

  record Size(Optional<Integer> bytes) {}

  record Order(String id, int count) {}

  record Typed(Optional<Order> order) {}

  private final Stage stage;

  Actions(Stage stage) {
    this.stage = stage;
  }

  Action<?, ?>[] all() {
    return new Action<?, ?>[] {
      action("echo", Value.class, Object.class, (ctx, in) -> in.value().orElse(null)),
      action("fail", Told.class, Void.class, (ctx, in) -> {
        throw new FailedException(in.typeText(), in.messageText());
      }),
      action("retry", Told.class, Void.class, (ctx, in) -> {
        double delay = in.delayMs().orElse(0.0);
        throw new RetryException(in.typeText(), in.messageText(), delay > 0 ? Duration.ofNanos((long) (delay * 1e6)) : null);
      }),
      action("hold", Told.class, Void.class, (ctx, in) -> {
        throw new HoldException(in.typeText(), in.messageText());
      }),
      action("crash", Told.class, Void.class, (ctx, in) -> {
        throw new IllegalStateException(in.messageText());
      }),
      oneSided("crash_undo", Void.class, Void.class, (ctx, in) -> null).undo(noted((ctx, undo) -> {
        throw new IllegalStateException("it can't be undone yet");
      })),
      oneSided("gate", Gate.class, String.class, (ctx, in) -> gate(in.name().orElse("")))
          .undo(noted((ctx, undo) -> gate("undo-" + ctx.sagaId()))),
      action("stubborn", Gate.class, String.class, (ctx, in) -> {
        stage.awaitStubbornly(in.name().orElse(""));
        return in.name().orElse("");
      }),
      action("heeding", Gate.class, String.class, this::heeding),
      action("block", Gate.class, String.class, (ctx, in) -> {
        stage.awaitStubbornly(in.name().orElse(""));
        return in.name().orElse("");
      }),
      action("big", Size.class, String.class, (ctx, in) -> "x".repeat(in.bytes().orElse(0))),
      action("progress", Gate.class, Object.class, this::progress),
      oneSided("describe", Value.class, Object.class, (ctx, in) -> told(ctx, null)).undo(this::describeUndo),
      action("typed", Typed.class, Integer.class, (ctx, in) -> in.order().map(Order::count).orElse(0)),
      action("misfit", Void.class, Double.class, (ctx, in) -> Double.POSITIVE_INFINITY),
      flip(),
      action("versioned", Void.class, String.class, (ctx, in) -> "1"),
      action("versioned", Void.class, String.class, (ctx, in) -> "2").version("2"),
      oneSided("one_sided", Void.class, Void.class, (ctx, in) -> null),
    };
  }

  record Flip(Sec sec) {}

  private Action<Flip, Sec> flip() {
    return action(
        "flip", Flip.class, Sec.class, (ctx, in) -> in.sec().toBuilder().setDraining(!in.sec().getDraining()).build());
  }

  /** An action whose user code is noted, with an undo action that is noted and does nothing else. */
  private <I, O> Action<I, O> action(String name, Class<I> input, Class<O> output, Action.Body<I, O> body) {
    return oneSided(name, input, output, body).undo(noted((ctx, undo) -> {}));
  }

  private <I, O> Action<I, O> oneSided(String name, Class<I> input, Class<O> output, Action.Body<I, O> body) {
    return Action.of(
        name,
        input,
        output,
        (ctx, in) -> {
          stage.note(ctx, "start", null);
          try {
            return body.run(ctx, in);
          } finally {
            stage.note(ctx, "end", null);
          }
        });
  }

  private <I, O> Action.UndoBody<I, O> noted(Action.UndoBody<I, O> body) {
    return (ctx, undo) -> {
      stage.note(ctx, "start", null);
      try {
        body.run(ctx, undo);
      } finally {
        stage.note(ctx, "end", null);
      }
    };
  }

  private String gate(String name) throws InterruptedException {
    stage.await(name, () -> false);
    return name;
  }

  private String heeding(ActionContext context, Gate in) throws InterruptedException {
    if (stage.await(in.name().orElse(""), () -> context.isUnwinding() && !context.isCancelled())) {
      return in.name().orElse("");
    }
    throw new FailedException("Heeded", "nothing was done yet");
  }

  private Map<String, Object> progress(ActionContext context, Gate in) throws InterruptedException {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("last", context.lastProgress(Object.class).orElse(null));
    context.heartbeat(Map.of("at", 1));
    gate(in.name().orElse(""));
    context.heartbeat(Map.of("at", 2));
    return result;
  }

  private void describeUndo(ActionContext context, Undo<Value, Object> undo) {
    Map<String, Object> about = new LinkedHashMap<>();
    about.put("succeeded", undo.known());
    about.put("output", undo.output());
    about.put("failure_type", undo.sagaFailure().map(FailureInfo::type).orElse(null));
    about.put("action_key", undo.actionKey());
    stage.note(context, "start", told(context, about));
    stage.note(context, "end", null);
  }

  /** What user code is told of its attempt. */
  private static Map<String, Object> told(ActionContext context, Object undo) {
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("saga", context.sagaId());
    told.put("node", context.node());
    told.put("kind", context.isUndo() ? "undo" : "action");
    told.put("attempt", context.attempt());
    told.put("idempotency_key", context.idempotencyKey());
    told.put("fencing_token", Long.toString(context.fencingToken()));
    told.put("epoch", Long.toString(context.epoch()));
    told.put("labels", context.labels());
    told.put("trace_context", context.traceContext());
    told.put("has_deadline", context.timeLeft().isPresent());
    told.put("stable_id", context.stableId("x"));
    told.put("undo", undo);
    return told;
  }
}
