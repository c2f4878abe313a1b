package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.Payload;
import dev.sagaline.v1.Progress;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Keeps only the latest progress of each attempt, and sends of each at most one in a short time (W45). */
final class ProgressBook {
  private static final class Latest {
    final Ref ref;
    String sec;
    Payload details;
    boolean queued;
    long waitUntil = NEVER;
    long notBefore = Long.MIN_VALUE;

    Latest(Ref ref, String sec) {
      this.ref = ref;
      this.sec = sec;
    }
  }

  private final Map<Ref, Latest> latest = new LinkedHashMap<>();
  private final Map<String, Deque<Latest>> queues = new HashMap<>();

  /** With null details the last ones stand, and only life is told. */
  void report(Ref ref, String sec, Payload details, long now) {
    Latest item = latest.computeIfAbsent(ref, r -> new Latest(r, sec));
    if (details != null) {
      item.details = details;
    }
    if (item.queued || item.waitUntil != NEVER) {
      return;
    }
    if (item.notBefore > now) {
      item.waitUntil = item.notBefore;
    } else {
      enqueue(item);
    }
  }

  void wake(long now) {
    for (Latest item : latest.values()) {
      if (now >= item.waitUntil) {
        enqueue(item);
      }
    }
  }

  long nextWake() {
    long next = NEVER;
    for (Latest item : latest.values()) {
      next = Math.min(next, item.waitUntil);
    }
    return next;
  }

  /** What an attempt told last leaves no later than its result, and nothing follows. */
  void end(Ref ref) {
    Latest item = latest.remove(ref);
    if (item != null && item.waitUntil != NEVER) {
      enqueue(item);
    }
  }

  /** What was written on the old stream may have been lost with it. */
  void resendAll(String sec) {
    queues.remove(sec);
    for (Latest item : latest.values()) {
      if (item.sec.equals(sec)) {
        enqueue(item);
      }
    }
  }

  void assign(Ref ref, String sec) {
    Latest item = latest.get(ref);
    if (item != null && !item.sec.equals(sec)) {
      item.sec = sec;
      enqueue(item);
    }
  }

  void closed(String sec) {
    queues.remove(sec);
  }

  boolean hasQueued(String sec) {
    Deque<Latest> queue = queues.get(sec);
    if (queue == null) {
      return false;
    }
    while (!queue.isEmpty() && !queue.peek().sec.equals(sec)) {
      queue.poll();
    }
    return !queue.isEmpty();
  }

  List<Progress> take(String sec, int budget, long now) {
    List<Progress> taken = new ArrayList<>();
    while (hasQueued(sec)) {
      Latest item = queues.get(sec).peek();
      var message = Progress.newBuilder().setRef(item.ref.message());
      if (item.details != null) {
        message.setDetails(item.details);
      }
      Progress built = message.build();
      budget -= built.getSerializedSize() + ITEM_OVERHEAD;
      if (budget < 0) {
        break;
      }
      queues.get(sec).poll();
      item.queued = false;
      item.notBefore = now + PROGRESS_TIME;
      taken.add(built);
    }
    return taken;
  }

  private void enqueue(Latest item) {
    item.queued = true;
    item.waitUntil = NEVER;
    queues.computeIfAbsent(item.sec, s -> new ArrayDeque<>()).add(item);
  }
}
