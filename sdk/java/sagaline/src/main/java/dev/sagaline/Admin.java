package dev.sagaline;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.DrainSecRequest;
import dev.sagaline.v1.ExplainSagaRequest;
import dev.sagaline.v1.ExplainSagaResponse;
import dev.sagaline.v1.HandOffRequest;
import dev.sagaline.v1.HandOffResponse;
import dev.sagaline.v1.Limit;
import dev.sagaline.v1.ListLimitsRequest;
import dev.sagaline.v1.ListLimitsResponse;
import dev.sagaline.v1.ListSecsRequest;
import dev.sagaline.v1.ListSecsResponse;
import dev.sagaline.v1.ListWorkersRequest;
import dev.sagaline.v1.ListWorkersResponse;
import dev.sagaline.v1.QuarantineSagaRequest;
import dev.sagaline.v1.QuarantineSagaResponse;
import dev.sagaline.v1.ReleaseSagaRequest;
import dev.sagaline.v1.ReleaseSagaResponse;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SecStatus;
import dev.sagaline.v1.SetLimitRequest;
import dev.sagaline.v1.SetLimitResponse;
import dev.sagaline.v1.WorkerStatus;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** What operators ask of SECs: {@link Client#admin}. */
public final class Admin {
  private final Calls calls;

  Admin(Calls calls) {
    this.calls = calls;
  }

  /** The SECs that live. */
  public CompletableFuture<List<SecStatus>> secs() {
    return calls.ask(Rpc.LIST_SECS, ListSecsRequest.getDefaultInstance()).thenApply(ListSecsResponse::getSecsList);
  }

  /** The workers of the SEC that answers. */
  public CompletableFuture<List<WorkerStatus>> workers() {
    return calls.ask(Rpc.LIST_WORKERS, ListWorkersRequest.getDefaultInstance()).thenApply(ListWorkersResponse::getWorkersList);
  }

  /** Why the nodes of a saga wait. */
  public CompletableFuture<ExplainSagaResponse> explain(String id) {
    return calls.ask(Rpc.EXPLAIN_SAGA, ExplainSagaRequest.newBuilder().setSagaId(id).build());
  }

  /** Gives a saga to another SEC, or with "" to any. Never repeated by itself: a second call would hand it on. */
  public CompletableFuture<HandOffResponse> handOff(String id, String toSec) {
    return calls.askOnce(Rpc.HAND_OFF, HandOffRequest.newBuilder().setSagaId(id).setToSecId(toSec).build());
  }

  /**
   * Has a SEC hand off all sagas and stop, within a time; "" is the one that answers. Never repeated by itself: it may have been
   * started again meanwhile.
   */
  public CompletableFuture<Void> drain(String sec, Duration within) {
    var request = DrainSecRequest.newBuilder().setSecId(sec).setTimeout(Check.length("drain timeout", within, 1));
    return calls.askOnce(Rpc.DRAIN_SEC, request.build()).thenApply(response -> null);
  }

  /** Sets the limit of a scope or an action, in place of the one that it has; one without any number removes it. */
  public CompletableFuture<Limit> setLimit(Limit limit) {
    return calls.ask(Rpc.SET_LIMIT, SetLimitRequest.newBuilder().setLimit(limit).build()).thenApply(SetLimitResponse::getLimit);
  }

  public CompletableFuture<List<Limit>> limits() {
    return calls.ask(Rpc.LIST_LIMITS, ListLimitsRequest.getDefaultInstance()).thenApply(ListLimitsResponse::getLimitsList);
  }

  /** Sets a saga aside: nothing of it runs till it is released. */
  public CompletableFuture<Saga> quarantine(String id, By by) {
    var request = QuarantineSagaRequest.newBuilder().setSagaId(id).setActor(by.actor()).setReason(by.reason()).build();
    return calls.ask(Rpc.QUARANTINE_SAGA, request).thenApply(QuarantineSagaResponse::getSaga);
  }

  /** Takes back a saga that was set aside. */
  public CompletableFuture<Saga> release(String id, By by) {
    var request = ReleaseSagaRequest.newBuilder().setSagaId(id).setActor(by.actor()).setReason(by.reason()).build();
    return calls.ask(Rpc.RELEASE_SAGA, request).thenApply(ReleaseSagaResponse::getSaga);
  }
}
