package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.internal.machine.Attempt.State;
import dev.sagaline.v1.RejectionReason;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * Holds the attempts that have not ended, and the slots that they use or wait for. Of a node user code runs once at a
 * time, whatever the side (W22).
 */
final class Slots {
  record SecPool(String sec, String pool) {}

  final Map<Ref, Attempt> attempts = new LinkedHashMap<>();
  /** Those that wait for a slot, or for an earlier attempt of the node to end. */
  final Map<Ref.Place, Attempt> queued = new LinkedHashMap<>();

  private final Map<Ref.Place, Attempt> running = new HashMap<>();
  private final Map<String, Integer> sizes;
  private final Map<String, Integer> used = new HashMap<>();
  private final Map<String, Integer> held = new HashMap<>();
  private final Map<String, Deque<Attempt>> lines = new HashMap<>();
  private final PriorityQueue<Attempt> deadlines = new PriorityQueue<>(Comparator.comparingLong(a -> a.until));
  private final Effects effects;
  private final Rejections rejections;

  Slots(Map<String, Integer> sizes, Effects effects, Rejections rejections) {
    this.sizes = sizes;
    this.effects = effects;
    this.rejections = rejections;
    for (String pool : sizes.keySet()) {
      lines.put(pool, new ArrayDeque<>());
      used.put(pool, 0);
      held.put(pool, 0);
    }
  }

  /** Why an attempt that is new here is not taken; null: it is. Excess may be held beyond the slots. */
  RejectionReason refusal(Attempt a, int excess) {
    Attempt waiting = queued.get(a.ref.place());
    Attempt here = waiting != null ? waiting : running.get(a.ref.place());
    if (here != null && !here.ref.before(a.ref)) {
      return RejectionReason.REJECTION_REASON_STALE_EPOCH;
    }
    int count = held.get(a.pool);
    if (waiting != null && waiting.pool.equals(a.pool)) {
      count--; // it will be replaced
    }
    return count >= sizes.get(a.pool) + excess ? RejectionReason.REJECTION_REASON_NO_CAPACITY : null;
  }

  /**
   * Lets a later attempt of a node take the place of one that waits, and wait for one that runs. The SEC has given the
   * earlier one up; but here it may still be having its effect, and no idempotency key protects from two at once.
   */
  void take(Attempt a, long now) {
    Ref.Place place = a.ref.place();
    Attempt waiting = queued.get(place);
    if (waiting != null) {
      reject(waiting, RejectionReason.REJECTION_REASON_NO_CAPACITY);
    }
    attempts.put(a.ref, a);
    held.merge(a.pool, 1, Integer::sum);
    Attempt earlier = running.get(place);
    if (earlier != null) {
      queued.put(place, a);
      stop(earlier, StopCause.SUPERSEDED);
    } else if (used.get(a.pool) < sizes.get(a.pool)) {
      start(a, now);
    } else {
      queued.put(place, a);
      lines.get(a.pool).add(a);
    }
  }

  private void start(Attempt a, long now) {
    a.state = State.RUNNING;
    running.put(a.ref.place(), a);
    used.merge(a.pool, 1, Integer::sum);
    if (a.invocation.hasStartToClose()) {
      a.until = after(now, nanosOf(a.invocation.getStartToClose()));
      deadlines.add(a);
      if (deadlines.size() > 4 * running.size() + 16) {
        // What has ended is swept out lazily, for most attempts end long before their time.
        deadlines.removeIf(other -> other.state != State.RUNNING);
      }
    }
    effects.add(new Effect.Start(a));
  }

  /** Asks a running attempt to end. The first reason counts; but an order comes after any advice. */
  void stop(Attempt a, StopCause cause) {
    if (a.stopped == null || (a.stopped.isAdvice() && !cause.isAdvice())) {
      a.stopped = cause;
      effects.add(new Effect.Stop(a.ref, cause));
    }
  }

  /** Only for what has not started: that is what the word promises (W32). */
  void reject(Attempt a, RejectionReason reason) {
    queued.remove(a.ref.place());
    attempts.remove(a.ref);
    a.state = State.ENDED;
    held.merge(a.pool, -1, Integer::sum);
    lines.get(a.pool).remove(a);
    rejections.add(a.ref, a.sec, reason);
  }

  /** Lets go of an attempt whose user code has ended, or never began. */
  void drop(Attempt a) {
    a.state = State.ENDED;
    attempts.remove(a.ref);
    running.remove(a.ref.place());
    used.merge(a.pool, -1, Integer::sum);
    held.merge(a.pool, -1, Integer::sum);
  }

  /** Uses what an end has freed: the node, for a later attempt that waits for it, and the slot. */
  void advance(Attempt over, boolean succeeded, long now) {
    Attempt waiting = queued.get(over.ref.place());
    if (waiting != null) {
      if (succeeded && waiting.ref.kind() == over.ref.kind()) {
        // The node's answer is known and goes to the SEC first: running it again would gain nothing.
        reject(waiting, RejectionReason.REJECTION_REASON_NO_CAPACITY);
      } else {
        lines.get(waiting.pool).add(waiting);
        fill(waiting.pool, now);
      }
    }
    fill(over.pool, now);
  }

  private void fill(String pool, long now) {
    Deque<Attempt> line = lines.get(pool);
    while (!line.isEmpty() && used.get(pool) < sizes.get(pool)) {
      Attempt a = line.poll();
      queued.remove(a.ref.place());
      start(a, now);
    }
  }

  /** Asks what has run for too long to end (W24). */
  void tick(long now) {
    while (!deadlines.isEmpty() && now >= deadlines.peek().until) {
      Attempt a = deadlines.poll();
      if (a.state == State.RUNNING) {
        stop(a, StopCause.TIMED_OUT);
      }
    }
  }

  /** May be that of an attempt that has ended: too early, never too late. */
  long nextDeadline() {
    return deadlines.isEmpty() ? NEVER : deadlines.peek().until;
  }

  Map<SecPool, Integer> bySecAndPool() {
    Map<SecPool, Integer> counts = new HashMap<>();
    for (Attempt a : attempts.values()) {
      counts.merge(new SecPool(a.sec, a.pool), 1, Integer::sum);
    }
    return counts;
  }
}
