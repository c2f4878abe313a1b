package dev.sagaline;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.BatchControl;
import dev.sagaline.v1.BatchControlSagasRequest;
import dev.sagaline.v1.Breakpoint;
import dev.sagaline.v1.CountSagasRequest;
import dev.sagaline.v1.CreateSagaRequest;
import dev.sagaline.v1.FaultKind;
import dev.sagaline.v1.GetSagaRequest;
import dev.sagaline.v1.GetSagaResponse;
import dev.sagaline.v1.InjectFaultRequest;
import dev.sagaline.v1.InjectFaultResponse;
import dev.sagaline.v1.ListSagasRequest;
import dev.sagaline.v1.LogEntry;
import dev.sagaline.v1.PauseSagaRequest;
import dev.sagaline.v1.PauseSagaResponse;
import dev.sagaline.v1.Resolution;
import dev.sagaline.v1.ResolveNodeRequest;
import dev.sagaline.v1.ResolveNodeResponse;
import dev.sagaline.v1.ResumeSagaRequest;
import dev.sagaline.v1.ResumeSagaResponse;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SagaFilter;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import dev.sagaline.v1.SetBreakpointsRequest;
import dev.sagaline.v1.SetBreakpointsResponse;
import dev.sagaline.v1.SignalSagaRequest;
import dev.sagaline.v1.SignalSagaResponse;
import dev.sagaline.v1.StepSagaRequest;
import dev.sagaline.v1.StepSagaResponse;
import dev.sagaline.v1.UnwindSagaRequest;
import dev.sagaline.v1.UnwindSagaResponse;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * Talks to SECs. It may be used by any number of threads. Futures end with {@link SagaException}; when no SEC is to be had a call
 * is repeated, at each address by turns, for 30 s, unless its method says that it never is.
 *
 * <pre>{@code
 * try (Client client = Client.connect("localhost:7070")) {
 *   Room room = client.run(TRIP, new Trip("4242", "Oslo")).get();
 * }
 * }</pre>
 */
public final class Client implements AutoCloseable {
  private final Calls calls;
  private final SharedRuns runs;
  private final PayloadCodec codec;

  private Client(String addresses, ChannelCredentials credentials, PayloadCodec codec) {
    this.calls = new Calls(addresses, credentials, Calls.PATIENCE);
    this.runs = new SharedRuns(calls, SharedRuns.IDLE);
    this.codec = codec;
  }

  /** Of SECs at "host:port", with commas between several, in plain text. */
  public static Client connect(String addresses) {
    return connect(addresses, InsecureChannelCredentials.create(), JsonCodec.DEFAULT);
  }

  public static Client connect(String addresses, ChannelCredentials credentials, PayloadCodec codec) {
    return new Client(addresses, credentials, codec);
  }

  /** Ends what is under way: futures end with {@link SagaException} of the code CANCELLED, and sagas go on. */
  @Override
  public void close() {
    runs.close();
    calls.close();
  }

  /** What operators ask. */
  public Admin admin() {
    return new Admin(calls);
  }

  // ---- sagas by their graphs

  /**
   * Creates a saga and starts it: it is durable when the future ends. The same id with the same content gives the saga that is
   * there.
   */
  public <R> CompletableFuture<SagaHandle<R>> create(NewSaga<R> saga) {
    return create(saga.message(codec)).thenApply(created -> new SagaHandle<>(this, created.getSagaId(), saga.resultType()));
  }

  /**
   * Creates a saga and gives its result; it ends as {@link SagaHandle#result} does. Runs that many threads, or one, have under way
   * at once share a stream; a few have a call each. Cancel the future, or give it {@link CompletableFuture#orTimeout}, to wait no
   * longer: a saga that was not sent yet never is, and any other goes on.
   */
  public <R> CompletableFuture<R> run(NewSaga<R> saga) {
    return resultOf(runs.run(saga.message(codec)), saga.resultType());
  }

  /** As the other, with nothing but parameters. */
  public <P, R> CompletableFuture<R> run(Graph<P, R> graph, P params) {
    return run(NewSaga.of(graph, params));
  }

  /** A saga that exists; the type is its result's. */
  public <R> SagaHandle<R> find(String id, Class<R> type) {
    return new SagaHandle<>(this, id, type);
  }

  /** As the other, for a result that a class literal can't say. */
  public <R> SagaHandle<R> find(String id, TypeRef<R> type) {
    return new SagaHandle<>(this, id, type.type());
  }

  <R> CompletableFuture<R> resultOf(CompletableFuture<Saga> ended, Type type) {
    CompletableFuture<R> result =
        ended.thenApply(
            saga -> {
              if (!Wait.isOver(saga, false)) {
                throw new NeedsOperatorException(saga);
              } else if (saga.getState() != SagaState.SAGA_STATE_SUCCEEDED) {
                throw new UnwoundException(saga);
              }
              return Action.<R>cast(codec.decode(saga.getOutput(), type));
            });
    result.whenComplete((value, problem) -> ended.cancel(false)); // who gave up the one waits for the other no longer
    return result;
  }

  // ---- sagas as messages

  /** As {@link #create(NewSaga)}, of a message, whose graph may come from anywhere. */
  public CompletableFuture<Saga> create(SagaSpec saga) {
    SagaSpec named = saga.getSagaId().isEmpty() ? saga.toBuilder().setSagaId(Ids.newId()).build() : saga;
    return calls
        .ask(Rpc.CREATE_SAGA, CreateSagaRequest.newBuilder().setSaga(named).build())
        .thenApply(response -> response.getSaga());
  }

  /** A saga with its nodes. */
  public CompletableFuture<Saga> get(String id) {
    return calls.ask(Rpc.GET_SAGA, GetSagaRequest.newBuilder().setSagaId(id).build()).thenApply(GetSagaResponse::getSaga);
  }

  /** Ends when the saga has ended; cancel the future to wait no longer. */
  public CompletableFuture<Saga> await(String id) {
    return awaitSaga(id, false);
  }

  /** As {@link #await}, and ends as well when the saga needs an operator. */
  public CompletableFuture<Saga> awaitOrNeedsOperator(String id) {
    return awaitSaga(id, true);
  }

  CompletableFuture<Saga> awaitSaga(String id, boolean orNeedsOperator) {
    return Wait.forEnd(calls, id, orNeedsOperator);
  }

  // ---- looking

  /**
   * Gives every entry of a saga's log from a number on, 1 being the first, then each new one, one at a time, until the saga has
   * ended: then the future ends. A stream that breaks is taken up where it was. Cancel the future to watch no longer.
   */
  public CompletableFuture<Void> watch(String id, long from, Consumer<LogEntry> each) {
    CompletableFuture<Void> result = new CompletableFuture<>();
    new Watch(calls, id, Math.max(from, 1), each, result).open();
    return result;
  }

  /** Gives each saga that a filter selects, in the order of their ids, page by page; the future ends after the last. */
  public CompletableFuture<Void> list(SagaFilter filter, Consumer<Saga> each) {
    return listFrom(ListSagasRequest.newBuilder().setFilter(filter).build(), each);
  }

  private CompletableFuture<Void> listFrom(ListSagasRequest request, Consumer<Saga> each) {
    return calls
        .ask(Rpc.LIST_SAGAS, request)
        .thenCompose(
            page -> {
              page.getSagasList().forEach(each);
              return page.getNextPageToken().isEmpty()
                  ? CompletableFuture.completedFuture(null)
                  : listFrom(request.toBuilder().setPageToken(page.getNextPageToken()).build(), each);
            });
  }

  /** How many sagas that a filter selects are in each state; states without any are left out. */
  public CompletableFuture<Map<SagaState, Long>> count(SagaFilter filter) {
    return calls
        .ask(Rpc.COUNT_SAGAS, CountSagasRequest.newBuilder().setFilter(filter).build())
        .thenApply(
            response -> {
              Map<SagaState, Long> counts = new EnumMap<>(SagaState.class);
              response.getCountsList().forEach(each -> counts.put(each.getState(), each.getCount()));
              return counts;
            });
  }

  // ---- steering

  /** Asks a saga to undo what it has done. Nodes in flight are waited for. */
  public CompletableFuture<Saga> unwind(String id, By by) {
    var request = UnwindSagaRequest.newBuilder().setSagaId(id).setBy(by.message()).build();
    return calls.ask(Rpc.UNWIND_SAGA, request).thenApply(UnwindSagaResponse::getSaga);
  }

  /** Holds every start of an action or undo action of a saga. What is in flight goes on. */
  public CompletableFuture<Saga> pause(String id, By by) {
    var request = PauseSagaRequest.newBuilder().setSagaId(id).setBy(by.message()).build();
    return calls.ask(Rpc.PAUSE_SAGA, request).thenApply(PauseSagaResponse::getSaga);
  }

  /** Ends a pause. */
  public CompletableFuture<Saga> resume(String id, By by) {
    var request = ResumeSagaRequest.newBuilder().setSagaId(id).setBy(by.message()).build();
    return calls.ask(Rpc.RESUME_SAGA, request).thenApply(ResumeSagaResponse::getSaga);
  }

  /** Lets a paused saga start so many actions or undo actions. Never repeated by itself: steps add up. */
  public CompletableFuture<Saga> step(String id, int steps, By by) {
    var request = StepSagaRequest.newBuilder().setSagaId(id).setSteps(steps).setBy(by.message()).build();
    return calls.askOnce(Rpc.STEP_SAGA, request).thenApply(StepSagaResponse::getSaga);
  }

  /** Has a saga pause before these nodes' actions or undo actions, in place of the breakpoints that it has. */
  public CompletableFuture<Saga> setBreakpoints(String id, List<Breakpoint> breakpoints, By by) {
    var request = SetBreakpointsRequest.newBuilder().setSagaId(id).addAllBreakpoints(breakpoints).setBy(by.message()).build();
    return calls.ask(Rpc.SET_BREAKPOINTS, request).thenApply(SetBreakpointsResponse::getSaga);
  }

  /** Sends a signal to a saga's signal node, once, however often the call has to be repeated. */
  public CompletableFuture<Saga> signal(String id, String signal, Object value) {
    var request =
        SignalSagaRequest.newBuilder()
            .setSagaId(id)
            .setSignal(signal)
            .setPayload(codec.encode(value))
            .setRequestId(Ids.newId())
            .build();
    return calls.ask(Rpc.SIGNAL_SAGA, request).thenApply(SignalSagaResponse::getSaga);
  }

  /**
   * Decides about a node that is held, in doubt, or whose undo failed; output is for SUPPLY_OUTPUT alone, and else null. Never
   * repeated by itself: a second time it may meet the node after its next failure.
   */
  public CompletableFuture<Saga> resolve(String id, String node, Resolution resolution, Object output, By by) {
    return resolveIfUnchanged(id, node, 0, resolution, output, by);
  }

  /**
   * As {@link #resolve}, but refused with SAGA_CHANGED if the saga's log has grown beyond logLength: the length that the saga had
   * on which the decision rests.
   */
  public CompletableFuture<Saga> resolveIfUnchanged(
      String id, String node, long logLength, Resolution resolution, Object output, By by) {
    var request =
        ResolveNodeRequest.newBuilder()
            .setSagaId(id)
            .setNode(node)
            .setResolution(resolution)
            .setExpectedLogLength(logLength)
            .setBy(by.message());
    if (output != null) {
      request.setOutput(codec.encode(output));
    }
    return calls.askOnce(Rpc.RESOLVE_NODE, request.build()).thenApply(ResolveNodeResponse::getSaga);
  }

  /** Has a fault happen to a node, so many times; only where the SEC allows it. Never repeated by itself: faults add up. */
  public CompletableFuture<Saga> injectFault(String id, String node, FaultKind fault, int times, By by) {
    var request =
        InjectFaultRequest.newBuilder().setSagaId(id).setNode(node).setFault(fault).setTimes(times).setBy(by.message()).build();
    return calls.askOnce(Rpc.INJECT_FAULT, request).thenApply(InjectFaultResponse::getSaga);
  }

  /**
   * Which sagas a batch reached, and which refused it, with the reasons.
   *
   * @param sagaIds of those that took it
   * @param refused reasons by id
   */
  public record Batch(List<String> sagaIds, Map<String, String> refused) {}

  /** Pauses, resumes or unwinds every saga that a filter selects. */
  public CompletableFuture<Batch> batch(SagaFilter filter, BatchControl control, By by) {
    var request = BatchControlSagasRequest.newBuilder().setFilter(filter).setControl(control).setBy(by.message()).build();
    return batchFrom(request, new Batch(new ArrayList<>(), new LinkedHashMap<>()));
  }

  private CompletableFuture<Batch> batchFrom(BatchControlSagasRequest request, Batch reached) {
    return calls
        .ask(Rpc.BATCH_CONTROL_SAGAS, request)
        .thenCompose(
            page -> {
              reached.sagaIds().addAll(page.getSagaIdsList());
              reached.refused().putAll(page.getRefusedMap());
              return page.getNextPageToken().isEmpty()
                  ? CompletableFuture.completedFuture(reached)
                  : batchFrom(request.toBuilder().setPageToken(page.getNextPageToken()).build(), reached);
            });
  }
}
