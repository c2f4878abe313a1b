package dev.sagaline;

import dev.sagaline.v1.SagaSpec;
import java.lang.reflect.Type;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** A saga to create, whose result is of type R. It is immutable; its methods give copies. */
public final class NewSaga<R> {
  private final SagaSpec spec;
  private final Object params;
  private final Type result;

  private NewSaga(SagaSpec spec, Object params, Type result) {
    this.spec = spec;
    this.params = params;
    this.result = result;
  }

  public static <P, R> NewSaga<R> of(Graph<P, R> graph, P params) {
    return new NewSaga<>(SagaSpec.newBuilder().setGraph(graph.message()).build(), params, graph.resultType());
  }

  /** Of a graph without parameters. */
  public static <R> NewSaga<R> of(Graph<Void, R> graph) {
    return of(graph, null);
  }

  /** The id of the saga, and the idempotency key of its creation; a new UUID if nothing is said. */
  public NewSaga<R> id(String id) {
    return with(spec.toBuilder().setSagaId(id));
  }

  /** By labels sagas are found. */
  public NewSaga<R> label(String key, String value) {
    return with(spec.toBuilder().putLabels(key, value));
  }

  /** Scopes, such as "rack/17", whose limits count the saga. */
  public NewSaga<R> scopes(String... scopes) {
    return with(spec.toBuilder().addAllScopes(List.of(scopes)));
  }

  /** Time from creation after which the saga unwinds. */
  public NewSaga<R> deadline(Duration time) {
    return with(spec.toBuilder().setDeadline(Check.length("deadline", time, 1)));
  }

  /** Time from creation before the first node starts. */
  public NewSaga<R> startDelay(Duration time) {
    return with(spec.toBuilder().setStartDelay(Check.length("start delay", time, 0)));
  }

  /** Nothing starts before {@link Client#resume}. */
  public NewSaga<R> startPaused() {
    return with(spec.toBuilder().setStartPaused(true));
  }

  /** W3C trace context that invocations carry on. */
  public NewSaga<R> traceContext(Map<String, String> context) {
    return with(spec.toBuilder().putAllTraceContext(context));
  }

  private NewSaga<R> with(SagaSpec.Builder spec) {
    return new NewSaga<>(spec.build(), params, result);
  }

  /** As it is sent, with an id, so that to send it again is safe. */
  SagaSpec message(PayloadCodec codec) {
    SagaSpec.Builder message = spec.toBuilder().setParams(codec.encode(params));
    if (message.getSagaId().isEmpty()) {
      message.setSagaId(Ids.newId());
    }
    return message.build();
  }

  Type resultType() {
    return result;
  }
}
