package dev.sagaline;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.sagaline.internal.Rpc;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/** The connections of a client, and calls on them, most of which are repeated where no SEC is to be had. */
final class Calls {
  /** How long a call is repeated, and a stream opened again that brings nothing. */
  static final Duration PATIENCE = Duration.ofSeconds(30);

  private static final long PAUSE_MAX_MS = 2_000;
  private static final long CALL_SECONDS = 90;

  private final ExecutorService executor =
      Executors.newCachedThreadPool(
          runnable -> {
            Thread thread = new Thread(runnable, "sagaline-client");
            thread.setDaemon(true);
            return thread;
          });
  private final List<ManagedChannel> channels = new ArrayList<>();
  private final AtomicInteger turn = new AtomicInteger();
  private final Duration patience;
  private volatile boolean closed;

  Calls(String addresses, ChannelCredentials credentials, Duration patience) {
    this.patience = patience;
    for (String address : addresses.split(",")) {
      channels.add(Rpc.channel(address.trim(), credentials, executor));
    }
  }

  /** Ends what is under way, with CANCELLED; nothing is repeated any more. */
  void close() {
    closed = true;
    channels.forEach(ManagedChannel::shutdownNow);
  }

  ManagedChannel channel() {
    return channels.get(Math.floorMod(turn.get(), channels.size()));
  }

  /** A call that may be repeated: what it does twice is done once. */
  <Q, A> CompletableFuture<A> ask(MethodDescriptor<Q, A> method, Q request) {
    CompletableFuture<A> result = new CompletableFuture<>();
    repeat(method, request, result, System.nanoTime(), 1);
    return result;
  }

  /** A call that must not be repeated where its fate is not known; the next call is on the next address then. */
  <Q, A> CompletableFuture<A> askOnce(MethodDescriptor<Q, A> method, Q request) {
    CompletableFuture<A> result = new CompletableFuture<>();
    send(
        method,
        request,
        result,
        error -> {
          SagaException why = exceptionOf(error);
          if (isPassing(why)) {
            turn.incrementAndGet();
          }
          result.completeExceptionally(why);
        });
    return result;
  }

  /** What those hear who wait while the client is closed. */
  static SagaException closed() {
    return SagaException.of(Status.Code.CANCELLED, "the client was closed");
  }

  private <Q, A> void repeat(MethodDescriptor<Q, A> method, Q request, CompletableFuture<A> result, long since, int tries) {
    if (result.isDone()) {
      return;
    }
    send(
        method,
        request,
        result,
        error -> {
          SagaException why = exceptionOf(error);
          if (isPassing(why) && isPatient(since)) {
            again(tries, () -> repeat(method, request, result, since, tries + 1));
          } else {
            result.completeExceptionally(why);
          }
        });
  }

  private <Q, A> void send(MethodDescriptor<Q, A> method, Q request, CompletableFuture<A> result, Consumer<Throwable> onError) {
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
            onError.accept(error);
          }

          @Override
          public void onCompleted() {}
        });
    result.whenComplete(
        (answer, problem) -> {
          if (result.isCancelled()) {
            call.cancel("nobody waits for it any more", null);
          }
        });
  }

  /** Whether the same call may go well at another time, or at another address. */
  boolean isPassing(SagaException why) {
    // Nobody here stopped a call that was cancelled without a reason: a SEC that ends does that.
    boolean isStopped = why.code() == Status.Code.CANCELLED && why.reason().isEmpty();
    return !closed && (why.code() == Status.Code.UNAVAILABLE || isStopped);
  }

  /** Whether what has failed since then is tried once more. */
  boolean isPatient(long sinceNanos) {
    return System.nanoTime() - sinceNanos < patience.toNanos();
  }

  /** Does something on a thread of this client: it may be code of the user, which waits as long as it likes. */
  void soon(Runnable what) {
    executor.execute(what);
  }

  void later(Duration time, Runnable what) {
    CompletableFuture.delayedExecutor(time.toNanos(), TimeUnit.NANOSECONDS, executor).execute(what);
  }

  /** At the next address: at once while not all were asked, and then after a pause that grows. */
  void again(int tries, Runnable next) {
    turn.incrementAndGet();
    channel().resetConnectBackoff();
    int rounds = tries / channels.size();
    long pause = tries % channels.size() != 0 ? 0 : Math.min(PAUSE_MAX_MS, 50L << Math.min(rounds, 10));
    later(Duration.ofMillis(pause), next);
  }

  SagaException exceptionOf(Throwable error) {
    Status status = Status.fromThrowable(error);
    if (closed && status.getCode() == Status.Code.UNAVAILABLE) {
      return closed();
    }
    String message = status.getDescription() == null ? "" : status.getDescription();
    String reason = "";
    Map<String, String> problems = new LinkedHashMap<>();
    Duration retryAfter = null;
    var details = StatusProto.fromThrowable(error);
    for (Any detail : details == null ? List.<Any>of() : details.getDetailsList()) {
      try {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          detail
              .unpack(BadRequest.class)
              .getFieldViolationsList()
              .forEach(problem -> problems.put(problem.getField(), problem.getDescription()));
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      } catch (InvalidProtocolBufferException e) {
        continue; // the status says enough
      }
    }
    return new SagaException(status.getCode(), reason, message, problems, retryAfter, error);
  }
}
