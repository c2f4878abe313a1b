package dev.sagaline.internal.engine;

import dev.sagaline.internal.machine.Attempt;
import dev.sagaline.internal.machine.Ref;
import dev.sagaline.internal.machine.StopCause;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.Payload;
import java.util.concurrent.CompletableFuture;

/** One attempt that was handed to user code. */
public final class Run {
  public final Invocation invocation;
  /** When start_to_close is over, by System.nanoTime; null: never. */
  public final Long deadline;
  /** Completed by the first word to stop, advice or order. */
  public final CompletableFuture<StopCause> advised = new CompletableFuture<>();
  /** Completed by the order to stop, upon which the thread is interrupted. */
  public final CompletableFuture<StopCause> ordered = new CompletableFuture<>();

  final Ref ref;
  private final Engine engine;
  private Thread thread;

  Run(Engine engine, Attempt attempt) {
    this.engine = engine;
    this.ref = attempt.ref;
    this.invocation = attempt.invocation;
    this.deadline = attempt.deadline();
  }

  /** Tells the SEC that the attempt is alive, with details, or with null without. */
  public void progress(Payload details) {
    engine.happen((fleet, now) -> fleet.progress(ref, details, now));
  }

  /** Whether the time of the attempt is over. */
  public boolean isOverdue() {
    return deadline != null && System.nanoTime() - deadline >= 0;
  }

  /** Called on a thread of the engine's own, for what waits for these futures runs there. */
  void stop(StopCause cause) {
    if (!cause.isAdvice()) {
      synchronized (this) {
        // The order first: who is interrupted asks for it at once, and would find none.
        if (ordered.complete(cause) && thread != null) {
          thread.interrupt();
        }
      }
    }
    advised.complete(cause);
  }

  /** Begins on this thread, unless an order to stop has come already. */
  synchronized boolean begin() {
    if (ordered.isDone()) {
      return false;
    }
    thread = Thread.currentThread();
    return true;
  }

  /** From here on the thread is not interrupted any more, and what was is forgotten. */
  synchronized void end() {
    thread = null;
    Thread.interrupted();
  }
}
