package dev.sagaline;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.RunSagasResponse;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SagaEnd;
import dev.sagaline.v1.SagaSpec;
import io.grpc.CallOptions;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * The runs of one client, which share one stream that creates their sagas and tells of their ends.
 *
 * <p>Nothing waits for others to come. A few runs at once have a call each, which is the shortest way; those beyond go over the
 * stream, whose frames take what has gathered meanwhile. The stream is opened when it is first needed, opened again at the next
 * address when it breaks, and ends when nobody has needed it for a while.
 *
 * <p>All fields are touched with this object's lock held. Nothing that gRPC is asked for with it waits, and no future ends: whoever
 * hears of that may ask for the next run.
 */
final class SharedRuns {
  /** Runs at once that have a call each. */
  static final int ALONE_MAX = 8;

  /** Runs at once over the stream; those beyond have a call each. */
  static final int SHARED_MAX = 10_000;

  /** How long the stream stays open without a run. */
  static final Duration IDLE = Duration.ofSeconds(5);

  /** A stream is opened anew after this time, so that it too has a deadline. Nobody notices. */
  private static final long STREAM_HOURS = 1;

  /** What breaks a stream that is under way, unless a SEC gives it a reason. */
  private static final Set<Status.Code> BROKEN =
      Set.of(
          Status.Code.CANCELLED,
          Status.Code.DEADLINE_EXCEEDED,
          Status.Code.UNKNOWN,
          Status.Code.INTERNAL,
          Status.Code.DATA_LOSS);

  private final Calls calls;
  private final Duration idleTime;
  private int alone;

  /** Who waits for the end of a saga of the stream, by its id: always those that are outstanding in the book. */
  private final Map<String, Run> shared = new HashMap<>();

  private RunBook book = new RunBook();
  private Stream stream;
  private boolean reopening;
  private boolean writing;
  private boolean closed;
  private boolean timing;
  private long idleSince;
  private int failures;
  private long failingSince;

  private record Run(SagaSpec saga, CompletableFuture<Saga> ended) {}

  SharedRuns(Calls calls, Duration idleTime) {
    this.calls = calls;
    this.idleTime = idleTime;
  }

  /** Ends when the saga has ended, or needs an operator. Who cancels the future waits no longer. */
  CompletableFuture<Saga> run(SagaSpec saga) {
    Run run = new Run(saga, new CompletableFuture<>());
    if (joins(run)) {
      run.ended().whenComplete((end, problem) -> leave(run));
    } else {
      goAlone(run);
    }
    return run.ended();
  }

  /** Gives up the stream; who waits on it hears of that. */
  void close() {
    List<Run> left;
    synchronized (this) {
      closed = true;
      left = endStream();
    }
    left.forEach(run -> run.ended().completeExceptionally(Calls.closed()));
  }

  // ---- runs

  /** Whether the run goes over the stream; else it is counted among those that have a call of their own. */
  private synchronized boolean joins(Run run) {
    boolean isForMany = alone >= ALONE_MAX || !shared.isEmpty();
    if (closed || !isForMany || shared.size() >= SHARED_MAX || shared.containsKey(run.saga().getSagaId())) {
      alone++;
      return false;
    }
    shared.put(run.saga().getSagaId(), run);
    book.add(run.saga());
    if (stream != null) {
      writeSoon();
    } else if (!reopening) {
      open();
    }
    return true;
  }

  private synchronized void leave(Run run) {
    String id = run.saga().getSagaId();
    if (shared.get(id) == run) {
      shared.remove(id);
      book.drop(id);
      beginIdle();
    }
  }

  /** Has a call made for a run that is counted already. */
  private void goAlone(Run run) {
    CompletableFuture<Saga> ended = Wait.run(calls, run.saga());
    run.ended().whenComplete((saga, problem) -> ended.cancel(false));
    ended.whenComplete(
        (saga, problem) -> {
          synchronized (this) {
            alone--;
          }
          if (problem == null) {
            run.ended().complete(saga);
          } else {
            run.ended().completeExceptionally(problem);
          }
        });
  }

  /** Has a call made for a run that the stream could not help; the saga is the same, wherever it was created. */
  private void goAloneAfterAll(Run run) {
    if (run.ended().isDone()) {
      return;
    }
    synchronized (this) {
      alone++;
    }
    goAlone(run);
  }

  private void tell(Run run, SagaEnd end) {
    if (!end.hasError()) {
      run.ended().complete(sagaOf(run.saga(), end));
      return;
    }
    SagaException refusal = SagaException.of(end.getError());
    if (refusal.reason().equals("SAGA_NOT_FOUND")) {
      run.ended().completeExceptionally(refusal); // it was there, and has been removed since
    } else {
      goAloneAfterAll(run); // a refusal in a batch names fields of the batch: alone, the saga is refused with its own
    }
  }

  private static Saga sagaOf(SagaSpec spec, SagaEnd end) {
    Saga.Builder saga =
        Saga.newBuilder()
            .setSagaId(spec.getSagaId())
            .setGraphName(spec.getGraph().getName())
            .putAllLabels(spec.getLabelsMap())
            .addAllScopes(spec.getScopesList())
            .setState(end.getState())
            .setNeedsOperator(end.getNeedsOperator())
            .setFailedNode(end.getFailedNode());
    if (end.hasOutput()) {
      saga.setOutput(end.getOutput());
    }
    if (end.hasFailure()) {
      saga.setFailure(end.getFailure());
    }
    return saga.build();
  }

  // ---- the stream

  private void open() {
    stream = new Stream();
    var call = calls.channel().newCall(Rpc.RUN_SAGAS, CallOptions.DEFAULT.withDeadlineAfter(STREAM_HOURS, TimeUnit.HOURS));
    ClientCalls.asyncBidiStreamingCall(call, stream);
  }

  private synchronized void reopen() {
    if (!reopening) {
      return;
    }
    reopening = false;
    if (shared.isEmpty()) {
      endStream();
    } else {
      book.restart();
      open();
    }
  }

  /** Makes everything as if there had never been a stream; returns who waited on it. */
  private List<Run> endStream() {
    List<Run> left = new ArrayList<>(shared.values());
    shared.clear();
    book = new RunBook();
    reopening = false;
    failures = 0;
    if (stream != null) {
      stream.requests.cancel("nobody needs it any more", null);
      stream = null;
    }
    return left;
  }

  /** Runs that come before the frame is made are in it too. */
  private void writeSoon() {
    if (!writing) {
      writing = true;
      calls.soon(this::write);
    }
  }

  private synchronized void write() {
    writing = false;
    while (stream != null && stream.requests.isReady()) {
      RunSagasRequest frame = book.nextFrame();
      if (frame == null) {
        return;
      }
      stream.requests.onNext(frame);
    }
  }

  private void received(Stream from, RunSagasResponse frame) {
    List<Runnable> toTell = new ArrayList<>();
    SagaException trouble;
    synchronized (this) {
      if (stream != from) {
        return;
      }
      long progress = book.progress();
      for (SagaEnd end : book.receive(frame)) {
        Run run = shared.remove(end.getSagaId());
        toTell.add(() -> tell(run, end));
      }
      if (book.progress() > progress) {
        failures = 0;
      }
      trouble = book.trouble();
      beginIdle();
    }
    toTell.forEach(calls::soon);
    if (trouble != null) {
      broke(from, trouble);
    }
  }

  private void broke(Stream broken, SagaException why) {
    List<Run> left;
    synchronized (this) {
      if (stream != broken) {
        return;
      }
      if (failures++ == 0) {
        failingSince = System.nanoTime();
      }
      if (!shared.isEmpty() && isPassing(why) && calls.isPatient(failingSince)) {
        stream.requests.cancel("another follows", null);
        stream = null;
        reopening = true;
        calls.again(failures, this::reopen);
        return;
      }
      left = endStream();
    }
    for (Run run : left) {
      if (why.code() == Status.Code.UNAVAILABLE) {
        calls.soon(() -> run.ended().completeExceptionally(why));
      } else {
        calls.soon(() -> goAloneAfterAll(run)); // whatever is wrong with the stream, single calls may go well
      }
    }
  }

  private static boolean isPassing(SagaException why) {
    return why.code() == Status.Code.UNAVAILABLE || (why.reason().isEmpty() && BROKEN.contains(why.code()));
  }

  private void beginIdle() {
    if (stream != null && shared.isEmpty()) {
      idleSince = System.nanoTime();
      if (!timing) {
        timing = true;
        calls.later(idleTime, this::endIfIdle);
      }
    }
  }

  /** The one timer that there is: runs that came and went meanwhile have moved its end. */
  private synchronized void endIfIdle() {
    timing = false;
    if (stream == null || !shared.isEmpty()) {
      return;
    }
    Duration left = idleTime.minusNanos(System.nanoTime() - idleSince);
    if (left.isNegative() || left.isZero()) {
      endStream();
    } else {
      timing = true;
      calls.later(left, this::endIfIdle);
    }
  }

  private final class Stream implements ClientResponseObserver<RunSagasRequest, RunSagasResponse> {
    private ClientCallStreamObserver<RunSagasRequest> requests;

    @Override
    public void beforeStart(ClientCallStreamObserver<RunSagasRequest> requests) {
      this.requests = requests;
      requests.setOnReadyHandler(SharedRuns.this::write);
    }

    @Override
    public void onNext(RunSagasResponse frame) {
      received(this, frame);
    }

    @Override
    public void onError(Throwable error) {
      broke(this, calls.exceptionOf(error));
    }

    @Override
    public void onCompleted() {
      broke(this, SagaException.of(Status.Code.UNAVAILABLE, "the stream ended before the sagas did"));
    }
  }
}
