package dev.sagaline;

import com.google.protobuf.Duration;
import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.RunSagaRequest;
import dev.sagaline.v1.RunSagaResponse;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import dev.sagaline.v1.WaitSagaRequest;
import dev.sagaline.v1.WaitSagaResponse;
import io.grpc.MethodDescriptor;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;

/** One wait for the end of a saga, over as many calls as it takes. Who cancels its future waits no longer. */
final class Wait {
  /** One call waits so long. */
  private static final Duration LENGTH = Duration.newBuilder().setSeconds(60).build();

  private final Calls calls;
  private final boolean orNeedsOperator;
  private final CompletableFuture<Saga> result = new CompletableFuture<>();
  private volatile CompletableFuture<?> call;

  private Wait(Calls calls, boolean orNeedsOperator) {
    this.calls = calls;
    this.orNeedsOperator = orNeedsOperator;
  }

  static CompletableFuture<Saga> forEnd(Calls calls, String id, boolean orNeedsOperator) {
    return new Wait(calls, orNeedsOperator).begin(wait -> wait.goOn(id));
  }

  /** Creates the saga in the first of the calls. */
  static CompletableFuture<Saga> run(Calls calls, SagaSpec saga) {
    var request = RunSagaRequest.newBuilder().setSaga(saga).setTimeout(LENGTH).setOrNeedsOperator(true).build();
    return new Wait(calls, true).begin(wait -> wait.ask(Rpc.RUN_SAGA, request, RunSagaResponse::getSaga));
  }

  static boolean isOver(Saga saga, boolean orNeedsOperator) {
    return saga.getState() == SagaState.SAGA_STATE_SUCCEEDED
        || saga.getState() == SagaState.SAGA_STATE_UNWOUND
        || (orNeedsOperator && saga.getNeedsOperator());
  }

  private CompletableFuture<Saga> begin(Consumer<Wait> first) {
    first.accept(this);
    result.whenComplete((saga, problem) -> call.cancel(false));
    return result;
  }

  private void goOn(String id) {
    var request = WaitSagaRequest.newBuilder().setSagaId(id).setTimeout(LENGTH).setOrNeedsOperator(orNeedsOperator).build();
    ask(Rpc.WAIT_SAGA, request, WaitSagaResponse::getSaga);
  }

  private <Q, A> void ask(MethodDescriptor<Q, A> method, Q request, Function<A, Saga> sagaOf) {
    CompletableFuture<A> asked = calls.ask(method, request);
    call = asked;
    if (result.isDone()) {
      asked.cancel(false); // given up before this call could be seen
    }
    asked.whenComplete(
        (response, problem) -> {
          if (problem != null) {
            result.completeExceptionally(problem);
          } else if (isOver(sagaOf.apply(response), orNeedsOperator)) {
            result.complete(sagaOf.apply(response));
          } else if (!result.isDone()) {
            goOn(sagaOf.apply(response).getSagaId());
          }
        });
  }
}
