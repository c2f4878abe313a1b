package dev.sagaline;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.CreateSagaRequest;
import dev.sagaline.v1.GetSagaRequest;
import dev.sagaline.v1.GetSagaResponse;
import dev.sagaline.v1.Graph;
import dev.sagaline.v1.LogEntry;
import dev.sagaline.v1.ResolveNodeRequest;
import dev.sagaline.v1.ResolveNodeResponse;
import dev.sagaline.v1.Resolution;
import dev.sagaline.v1.Saga;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import dev.sagaline.v1.SignalSagaRequest;
import dev.sagaline.v1.SignalSagaResponse;
import dev.sagaline.v1.UnwindSagaRequest;
import dev.sagaline.v1.UnwindSagaResponse;
import dev.sagaline.v1.WaitSagaRequest;
import dev.sagaline.v1.WatchSagaRequest;
import dev.sagaline.v1.WatchSagaResponse;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/**
 * Talks to SECs. It may be used by any number of threads. Futures end with {@link SagaException}; when no SEC is to be had a call
 * is repeated, at each address by turns, for 30 s: every call may be.
 */
public final class Client implements AutoCloseable {
  private static final long REPEAT_NANOS = TimeUnit.SECONDS.toNanos(30);
  private static final long PAUSE_MAX_MS = 2_000;
  private static final long CALL_SECONDS = 90;
  private static final int WAIT_SECONDS = 60;

  private final ExecutorService executor =
      Executors.newCachedThreadPool(
          runnable -> {
            Thread thread = new Thread(runnable, "sagaline-client");
            thread.setDaemon(true);
            return thread;
          });
  private final List<ManagedChannel> channels = new ArrayList<>();
  private final AtomicInteger turn = new AtomicInteger();
  private final PayloadCodec codec;

  private Client(String addresses, ChannelCredentials credentials, PayloadCodec codec) {
    this.codec = codec;
    for (String address : addresses.split(",")) {
      channels.add(Rpc.channel(address.trim(), credentials, executor));
    }
  }

  /** Of SECs at "host:port", with commas between several, in plain text. */
  public static Client connect(String addresses) {
    return connect(addresses, InsecureChannelCredentials.create(), JsonCodec.DEFAULT);
  }

  public static Client connect(String addresses, ChannelCredentials credentials, PayloadCodec codec) {
    return new Client(addresses, credentials, codec);
  }

  @Override
  public void close() {
    channels.forEach(ManagedChannel::shutdownNow);
  }

  /**
   * Creates a saga and starts it: it is durable when the future ends. The same id with the same content gives the saga that is
   * there; without an id it gets a new one.
   */
  public CompletableFuture<Saga> create(SagaSpec saga) {
    SagaSpec named = saga.getSagaId().isEmpty() ? saga.toBuilder().setSagaId(UUID.randomUUID().toString()).build() : saga;
    var request = CreateSagaRequest.newBuilder().setSaga(named).build();
    return ask(Rpc.CREATE_SAGA, request).thenApply(response -> response.getSaga());
  }

  /** As {@link #create(SagaSpec)}, with parameters that the codec turns into a payload; a null id is a new one. */
  public CompletableFuture<Saga> create(String id, Graph graph, Object params) {
    return create(
        SagaSpec.newBuilder().setSagaId(id == null ? "" : id).setGraph(graph).setParams(codec.encode(params)).build());
  }

  /** A saga with its nodes. */
  public CompletableFuture<Saga> get(String id) {
    return ask(Rpc.GET_SAGA, GetSagaRequest.newBuilder().setSagaId(id).build()).thenApply(GetSagaResponse::getSaga);
  }

  /** Ends when the saga has ended; cancel the future to wait no longer. */
  public CompletableFuture<Saga> await(String id) {
    CompletableFuture<Saga> result = new CompletableFuture<>();
    awaitOnce(id, result);
    return result;
  }

  private void awaitOnce(String id, CompletableFuture<Saga> result) {
    var timeout = Duration.newBuilder().setSeconds(WAIT_SECONDS);
    ask(Rpc.WAIT_SAGA, WaitSagaRequest.newBuilder().setSagaId(id).setTimeout(timeout).build())
        .whenComplete(
            (response, problem) -> {
              if (problem != null) {
                result.completeExceptionally(problem);
              } else if (isOver(response.getSaga())) {
                result.complete(response.getSaga());
              } else if (!result.isDone()) {
                awaitOnce(id, result);
              }
            });
  }

  private static boolean isOver(Saga saga) {
    return saga.getState() == SagaState.SAGA_STATE_SUCCEEDED || saga.getState() == SagaState.SAGA_STATE_UNWOUND;
  }

  /** The result of a saga, when it has ended; of one that unwound, an {@link UnwoundException}. */
  public <R> CompletableFuture<R> result(String id, Class<R> type) {
    return await(id)
        .thenApply(
            saga -> {
              if (saga.getState() != SagaState.SAGA_STATE_SUCCEEDED) {
                throw new UnwoundException(saga);
              }
              return Action.<R>cast(codec.decode(saga.getOutput(), type));
            });
  }

  /**
   * Gives every entry of a saga's log from a number on, 1 being the first, then each new one, one at a time, until the saga has
   * ended: then the future ends. A stream that breaks is taken up where it was. Cancel the future to watch no longer.
   */
  public CompletableFuture<Void> watch(String id, long from, Consumer<LogEntry> each) {
    CompletableFuture<Void> result = new CompletableFuture<>();
    new Watch(id, Math.max(from, 1), each, result).open();
    return result;
  }

  /** Asks a saga to undo what it has done. Nodes in flight are waited for. */
  public CompletableFuture<Saga> unwind(String id, By by) {
    var request = UnwindSagaRequest.newBuilder().setSagaId(id).setBy(by.message()).build();
    return ask(Rpc.UNWIND_SAGA, request).thenApply(UnwindSagaResponse::getSaga);
  }

  /** Sends a signal to a saga's signal node, once, however often the call has to be repeated. */
  public CompletableFuture<Saga> signal(String id, String signal, Object value) {
    var request =
        SignalSagaRequest.newBuilder()
            .setSagaId(id)
            .setSignal(signal)
            .setPayload(codec.encode(value))
            .setRequestId(UUID.randomUUID().toString())
            .build();
    return ask(Rpc.SIGNAL_SAGA, request).thenApply(SignalSagaResponse::getSaga);
  }

  /** Decides about a node that is held, in doubt, or whose undo failed; output is for SUPPLY_OUTPUT alone, and else null. */
  public CompletableFuture<Saga> resolve(String id, String node, Resolution resolution, Object output, By by) {
    var request =
        ResolveNodeRequest.newBuilder().setSagaId(id).setNode(node).setResolution(resolution).setBy(by.message());
    if (output != null) {
      request.setOutput(codec.encode(output));
    }
    return ask(Rpc.RESOLVE_NODE, request.build()).thenApply(ResolveNodeResponse::getSaga);
  }

  // ---- inside

  private ManagedChannel channel() {
    return channels.get(Math.floorMod(turn.get(), channels.size()));
  }

  private <Q, A> CompletableFuture<A> ask(MethodDescriptor<Q, A> method, Q request) {
    CompletableFuture<A> result = new CompletableFuture<>();
    tryOnce(method, request, result, System.nanoTime(), 1);
    return result;
  }

  private <Q, A> void tryOnce(MethodDescriptor<Q, A> method, Q request, CompletableFuture<A> result, long since, int tries) {
    if (result.isDone()) {
      return;
    }
    var call = channel().newCall(method, CallOptions.DEFAULT.withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS));
    ClientCalls.asyncUnaryCall(
        call,
        request,
        new StreamObserver<A>() {
          @Override
          public void onNext(A response) {
            result.complete(response);
          }

          @Override
          public void onError(Throwable error) {
            if (isUnavailable(error) && System.nanoTime() - since < REPEAT_NANOS) {
              again(tries, () -> tryOnce(method, request, result, since, tries + 1));
            } else {
              result.completeExceptionally(exceptionOf(error));
            }
          }

          @Override
          public void onCompleted() {}
        });
  }

  private static boolean isUnavailable(Throwable error) {
    return Status.fromThrowable(error).getCode() == Status.Code.UNAVAILABLE;
  }

  /** At the next address: at once while not all were asked, and then after a pause that grows. */
  private void again(int tries, Runnable next) {
    turn.incrementAndGet();
    channel().resetConnectBackoff();
    int rounds = tries / channels.size();
    long pause = tries % channels.size() != 0 ? 0 : Math.min(PAUSE_MAX_MS, 50L << Math.min(rounds, 10));
    CompletableFuture.delayedExecutor(pause, TimeUnit.MILLISECONDS, executor).execute(next);
  }

  private static SagaException exceptionOf(Throwable error) {
    Status status = Status.fromThrowable(error);
    String message = status.getDescription() == null ? "" : status.getDescription();
    String reason = "";
    var details = StatusProto.fromThrowable(error);
    for (Any detail : details == null ? List.<Any>of() : details.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        try {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } catch (InvalidProtocolBufferException e) {
          continue; // the status says enough
        }
      }
    }
    return new SagaException(status.getCode(), reason, message, error);
  }

  /** One watch, over as many streams as it takes. */
  private final class Watch implements StreamObserver<WatchSagaResponse> {
    private final String id;
    private final Consumer<LogEntry> each;
    private final CompletableFuture<Void> result;
    private long next;
    private int failures;

    Watch(String id, long next, Consumer<LogEntry> each, CompletableFuture<Void> result) {
      this.id = id;
      this.next = next;
      this.each = each;
      this.result = result;
    }

    void open() {
      var call = channel().newCall(Rpc.WATCH_SAGA, CallOptions.DEFAULT);
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
      if (isUnavailable(error) && !result.isDone()) {
        again(++failures, this::open);
      } else {
        result.completeExceptionally(exceptionOf(error));
      }
    }

    @Override
    public void onCompleted() {
      result.complete(null);
    }
  }
}
