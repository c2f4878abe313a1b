package dev.sagaline;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.BatchError;
import dev.sagaline.v1.CreateResult;
import dev.sagaline.v1.Graph;
import dev.sagaline.v1.RunSagaRequest;
import dev.sagaline.v1.RunSagaResponse;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.RunSagasResponse;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SagaEnd;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** A SagaService whose sagas end at once with their parameters as output, and whose streams break as a test wants them to. */
final class FakeSagas implements AutoCloseable {
  private static final long SECONDS = 60;

  /**
   * How a stream ends before its time.
   *
   * @param afterFrames how many it still sends
   * @param status null: it ends as if all were well
   */
  record Breaks(int afterFrames, Status status) {}

  /** By id, with their graphs; those of one store may be served at several addresses. */
  final Map<String, SagaSpec> created;

  /** One for each stream, in order; those beyond are whole. */
  final Deque<Breaks> breaks = new ArrayDeque<>();

  /** What came over streams. */
  final List<RunSagasRequest> frames = Collections.synchronizedList(new ArrayList<>());

  volatile Function<SagaSpec, SagaEnd> ending = FakeSagas::succeeded;
  volatile Function<SagaSpec, BatchError> refusing = saga -> null;

  /** Nothing ends before the release: the sagas of calls of their own, or those of streams too. */
  volatile boolean holdsAlone;

  volatile boolean holdsAll;

  /** Results of the first stream that tells any are of sagas that nobody sent. */
  volatile boolean mixesUp;

  private final List<Runnable> held = new ArrayList<>();
  private final List<Stream> open = new ArrayList<>();
  private final Server server;
  private final int port;
  private int aloneBegun;
  private int streamsBegun;
  private int streamsGone;

  FakeSagas() throws IOException {
    this(0, Collections.synchronizedMap(new HashMap<>()));
  }

  FakeSagas(int wanted, Map<String, SagaSpec> created) throws IOException {
    this.created = created;
    server =
        Grpc.newServerBuilderForPort(wanted, InsecureServerCredentials.create())
            .addService(
                ServerServiceDefinition.builder("sagaline.v1.SagaService")
                    .addMethod(Rpc.RUN_SAGA, ServerCalls.asyncUnaryCall(this::runSaga))
                    .addMethod(Rpc.RUN_SAGAS, ServerCalls.asyncBidiStreamingCall(this::runSagas))
                    .build())
            .build()
            .start();
    this.port = server.getPort();
  }

  int port() {
    return port;
  }

  String address() {
    return "127.0.0.1:" + port();
  }

  synchronized int alone() {
    return aloneBegun;
  }

  /** Waits until so many sagas have come by calls of their own. */
  synchronized void awaitAlone(int count) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
    while (aloneBegun < count) {
      await(end, "of " + count + " calls only " + aloneBegun + " came");
    }
  }

  synchronized int streams() {
    return streamsBegun;
  }

  /** Waits until so many sagas are there. */
  synchronized void awaitCreated(int count) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
    while (created.size() < count) {
      await(end, "of " + count + " sagas only " + created.size() + " were created");
    }
  }

  /** Waits until so many streams have ended on the client's side. */
  synchronized void awaitGone(int count) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
    while (streamsGone < count) {
      await(end, "of " + count + " streams only " + streamsGone + " were ended");
    }
  }

  private void await(long end, String problem) throws InterruptedException {
    long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
    if (left <= 0) {
      throw new AssertionError(problem);
    }
    wait(left);
  }

  /** Lets all sagas end, those that come as well. */
  void release() {
    List<Runnable> ends;
    synchronized (this) {
      holdsAlone = false;
      holdsAll = false;
      ends = List.copyOf(held);
      held.clear();
    }
    ends.forEach(Runnable::run);
  }

  /** Breaks all streams now, after what they have sent. */
  void breakStreams(Status status) {
    List<Stream> streams;
    synchronized (this) {
      streams = List.copyOf(open);
    }
    streams.forEach(stream -> stream.end(status));
  }

  private void endUnless(boolean holds, Runnable end) {
    synchronized (this) {
      if (holds) {
        held.add(end);
        return;
      }
    }
    end.run();
  }

  private synchronized void create(SagaSpec saga) {
    created.put(saga.getSagaId(), saga);
    notifyAll();
  }

  static SagaEnd succeeded(SagaSpec saga) {
    return SagaEnd.newBuilder().setState(SagaState.SAGA_STATE_SUCCEEDED).setOutput(saga.getParams()).build();
  }

  private SagaEnd endOf(String id) {
    SagaSpec saga = created.get(id);
    return ending.apply(saga).toBuilder().setSagaId(id).build();
  }

  private void runSaga(RunSagaRequest request, StreamObserver<RunSagaResponse> response) {
    synchronized (this) {
      aloneBegun++;
      notifyAll();
    }
    BatchError refusal = refusing.apply(request.getSaga());
    if (refusal != null) {
      response.onError(Status.fromCodeValue(refusal.getCode()).withDescription("said to it alone").asRuntimeException());
      return;
    }
    create(request.getSaga());
    endUnless(
        holdsAlone || holdsAll,
        () -> {
          SagaEnd end = endOf(request.getSaga().getSagaId());
          var saga = Saga.newBuilder().setSagaId(end.getSagaId()).setState(end.getState()).setOutput(end.getOutput());
          response.onNext(RunSagaResponse.newBuilder().setSaga(saga.setNeedsOperator(end.getNeedsOperator())).build());
          response.onCompleted();
        });
  }

  private synchronized StreamObserver<RunSagasRequest> runSagas(StreamObserver<RunSagasResponse> responses) {
    streamsBegun++;
    Breaks end = breaks.poll();
    Stream stream = new Stream(responses, end == null ? new Breaks(Integer.MAX_VALUE, null) : end);
    open.add(stream);
    return stream;
  }

  private final class Stream implements StreamObserver<RunSagasRequest> {
    private final StreamObserver<RunSagasResponse> responses;
    private final Breaks end;
    private final Map<String, Graph> graphs = new HashMap<>();
    private int sent;
    private boolean over;

    Stream(StreamObserver<RunSagasResponse> responses, Breaks end) {
      this.responses = responses;
      this.end = end;
      if (end.afterFrames() == 0) {
        send(RunSagasResponse.getDefaultInstance());
      }
    }

    /** With the lock held until its results are sent: a stream that is broken has told of all that was created. */
    @Override
    public synchronized void onNext(RunSagasRequest frame) {
      frames.add(frame);
      graphs.putAll(frame.getGraphsMap());
      List<String> ended = new ArrayList<>(frame.getFollowIdsList());
      var results = RunSagasResponse.newBuilder();
      for (SagaSpec saga : frame.getSagasList()) {
        var result = CreateResult.newBuilder().setSagaId(mixesUp ? "nobody's" : saga.getSagaId());
        BatchError refusal = refusing.apply(saga);
        if (refusal != null) {
          results.addResults(result.setError(refusal));
          continue;
        }
        Graph graph = saga.hasGraph() ? saga.getGraph() : graphs.get(saga.getGraphKey());
        create(saga.toBuilder().clearGraphKey().setGraph(graph).build());
        results.addResults(result);
        ended.add(saga.getSagaId());
      }
      mixesUp = false;
      send(results.build());
      int middle = ended.size() / 2;
      endUnless(holdsAll, () -> sendEnds(ended.subList(middle, ended.size())));
      endUnless(holdsAll, () -> sendEnds(ended.subList(0, middle)));
    }

    private void sendEnds(List<String> ids) {
      var frame = RunSagasResponse.newBuilder();
      ids.forEach(id -> frame.addEnds(endOf(id)));
      send(frame.build());
    }

    private synchronized void send(RunSagasResponse frame) {
      if (over) {
        return;
      }
      if (sent++ < end.afterFrames()) {
        responses.onNext(frame);
      } else {
        end(end.status());
      }
    }

    private synchronized void end(Status status) {
      over = true;
      if (status == null) {
        responses.onCompleted();
      } else {
        responses.onError(status.asRuntimeException());
      }
    }

    @Override
    public void onError(Throwable error) {
      synchronized (this) {
        over = true;
      }
      synchronized (FakeSagas.this) {
        streamsGone++;
        FakeSagas.this.notifyAll();
      }
    }

    @Override
    public void onCompleted() {}
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(SECONDS, TimeUnit.SECONDS);
  }
}
