package dev.sagaline;

import dev.sagaline.internal.engine.Run;
import dev.sagaline.internal.machine.Ref;
import dev.sagaline.internal.machine.StopCause;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.Payload;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.Consumer;

/**
 * What an action or undo action can know of its attempt, and tell of it. It may be used from any thread, as long as the attempt
 * runs.
 *
 * <p>When the attempt is ordered to stop, its thread is interrupted: a call that waits ends with InterruptedException, and so
 * does the attempt if it lets that pass. What it returns counts all the same.
 */
public final class ActionContext {
  private static final UUID STABLE_IDS = UUID.fromString("81a05ee2-a37c-5762-a96f-1edde0101c46");

  private final Invocation invocation;
  private final PayloadCodec codec;
  private final Long deadline;
  private final CompletableFuture<StopCause> advised;
  private final CompletableFuture<StopCause> ordered;
  private final Consumer<Payload> progress;

  private ActionContext(
      Invocation invocation,
      PayloadCodec codec,
      Long deadline,
      CompletableFuture<StopCause> advised,
      CompletableFuture<StopCause> ordered,
      Consumer<Payload> progress) {
    this.invocation = invocation;
    this.codec = codec;
    this.deadline = deadline;
    this.advised = advised;
    this.ordered = ordered;
    this.progress = progress;
  }

  static ActionContext of(Run run, PayloadCodec codec) {
    return new ActionContext(run.invocation, codec, run.deadline, run.advised, run.ordered, run::progress);
  }

  /** For tests of an action without a worker: nothing ever stops it, and its progress goes nowhere. */
  public static ActionContext forTest(Invocation invocation) {
    return new ActionContext(
        invocation, JsonCodec.DEFAULT, null, new CompletableFuture<>(), new CompletableFuture<>(), payload -> {});
  }

  public String sagaId() {
    return invocation.getRef().getSagaId();
  }

  /** With the subsagas it is in: "server/pick". */
  public String node() {
    return invocation.getRef().getNode();
  }

  /** Whether the undo action runs. */
  public boolean isUndo() {
    return invocation.getRef().getKindValue() == Ref.UNDO;
  }

  /** Counts from 1. */
  public int attempt() {
    return invocation.getRef().getAttempt();
  }

  public String action() {
    return invocation.getAction();
  }

  public String version() {
    return invocation.getVersion();
  }

  /** The same for every attempt of this side of this node, for ever: pass it to third-party APIs. */
  public String idempotencyKey() {
    return invocation.getIdempotencyKey();
  }

  /** Grows with every attempt, action before undo, across SECs: it lets your stores refuse older writers. */
  public long fencingToken() {
    return invocation.getFencingToken();
  }

  /** Of the saga's ownership. */
  public long epoch() {
    return invocation.getEpoch();
  }

  /** How long the attempt may still run; empty where that is not limited. */
  public Optional<Duration> timeLeft() {
    return deadline == null ? Optional.empty() : Optional.of(Duration.ofNanos(Math.max(0, deadline - System.nanoTime())));
  }

  /** How often {@link #heartbeat} must be called; empty: never. */
  public Optional<Duration> heartbeatTimeout() {
    if (!invocation.hasHeartbeatTimeout()) {
      return Optional.empty();
    }
    var timeout = invocation.getHeartbeatTimeout();
    return Optional.of(Duration.ofSeconds(timeout.getSeconds(), timeout.getNanos()));
  }

  /** Of the saga. */
  public Map<String, String> labels() {
    return invocation.getLabelsMap();
  }

  /** W3C trace context to make spans below. */
  public Map<String, String> traceContext() {
    return invocation.getTraceContextMap();
  }

  /** The named inputs as they came: the same bytes in every attempt of a node. */
  public Map<String, Payload> inputs() {
    return invocation.getInputsMap();
  }

  /** The key that every attempt of the action carried, where an undo action runs; this attempt's own otherwise. */
  public String actionKey() {
    return isUndo() ? invocation.getUndo().getActionIdempotencyKey() : idempotencyKey();
  }

  /**
   * An id that is the same in every attempt of this node, action and undo action alike, in every language: a UUID of version
   * 5. Make what you create with it, and an attempt that comes again finds what the first one made.
   */
  public UUID stableId(String name) {
    byte[] text = (sagaId() + "\n" + node() + "\n" + name).getBytes(StandardCharsets.UTF_8);
    try {
      MessageDigest sha1 = MessageDigest.getInstance("SHA-1");
      sha1.update(
          ByteBuffer.allocate(16)
              .putLong(STABLE_IDS.getMostSignificantBits())
              .putLong(STABLE_IDS.getLeastSignificantBits())
              .array());
      ByteBuffer hash = ByteBuffer.wrap(sha1.digest(text));
      long most = (hash.getLong() & 0xFFFFFFFFFFFF0FFFL) | 0x5000L;
      long least = (hash.getLong() & 0x3FFFFFFFFFFFFFFFL) | 0x8000000000000000L;
      return new UUID(most, least);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-1", e);
    }
  }

  // ---- stopping

  /** Why the attempt was asked to stop, by an advice or an order; empty while it was not. */
  public Optional<StopReason> stopReason() {
    CompletableFuture<StopCause> asked = ordered.isDone() ? ordered : advised;
    return asked.isDone() ? Optional.of(StopReason.valueOf(asked.join().name())) : Optional.empty();
  }

  /** Whether the attempt was ordered to stop. */
  public boolean isCancelled() {
    return ordered.isDone();
  }

  /** Throws CancellationException once the attempt was ordered to stop. */
  public void throwIfCancelled() {
    if (isCancelled()) {
      throw new CancellationException("the attempt was asked to stop: " + ordered.join());
    }
  }

  /** Completed by the order to stop. */
  public CompletionStage<StopReason> cancellation() {
    return ordered.thenApply(cause -> StopReason.valueOf(cause.name()));
  }

  /**
   * Whether the saga unwinds, or the attempt was ordered to stop. The former is an advice: the attempt may as well go on, for
   * what it does will be undone; one that is certain to have had no effect may end early with {@link FailedException}.
   */
  public boolean isUnwinding() {
    return advised.isDone();
  }

  // ---- progress

  /** Reports that the attempt is alive. It is cheap; calls in quick succession are sent as one. */
  public void heartbeat() {
    progress.accept(null);
  }

  /** As {@link #heartbeat()}, and how far it is: the next attempt finds it in lastProgress, should this one not succeed. */
  public void heartbeat(Object details) {
    progress.accept(codec.encode(details));
  }

  /** What an earlier attempt reported last. */
  public <T> Optional<T> lastProgress(Class<T> type) {
    return invocation.hasLastProgress()
        ? Optional.ofNullable(Action.<T>cast(codec.decode(invocation.getLastProgress(), type)))
        : Optional.empty();
  }
}
