package dev.sagaline;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.LogEntry;
import dev.sagaline.v1.WatchSagaRequest;
import dev.sagaline.v1.WatchSagaResponse;
import io.grpc.CallOptions;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/** One watch, over as many streams as it takes. */
final class Watch implements StreamObserver<WatchSagaResponse> {
  private final Calls calls;
  private final String id;
  private final Consumer<LogEntry> each;
  private final CompletableFuture<Void> result;
  private long next;
  private int failures;

  Watch(Calls calls, String id, long next, Consumer<LogEntry> each, CompletableFuture<Void> result) {
    this.calls = calls;
    this.id = id;
    this.next = next;
    this.each = each;
    this.result = result;
  }

  void open() {
    var call = calls.channel().newCall(Rpc.WATCH_SAGA, CallOptions.DEFAULT);
    result.whenComplete((nothing, problem) -> call.cancel("nobody watches any more", null));
    ClientCalls.asyncServerStreamingCall(call, WatchSagaRequest.newBuilder().setSagaId(id).setFromSeq(next).build(), this);
  }

  @Override
  public void onNext(WatchSagaResponse frame) {
    failures = 0;
    for (LogEntry entry : frame.getEntriesList()) {
      if (result.isDone()) {
        return;
      }
      next = entry.getSeq() + 1;
      try {
        each.accept(entry);
      } catch (RuntimeException e) {
        result.completeExceptionally(e);
      }
    }
  }

  @Override
  public void onError(Throwable error) {
    SagaException why = calls.exceptionOf(error);
    if (calls.isPassing(why) && !result.isDone()) {
      calls.again(++failures, this::open);
    } else {
      result.completeExceptionally(why);
    }
  }

  @Override
  public void onCompleted() {
    result.complete(null);
  }
}
