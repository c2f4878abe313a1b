package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.Rejection;
import dev.sagaline.v1.RejectionReason;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;

/** Keeps each rejection until the SEC has echoed a heartbeat that left with it or after it (W33). */
final class Rejections {
  private static final class Rejected {
    final Ref ref;
    /** Whose reading of it counts; "" if anybody's does, since that SEC is gone. */
    String sec;
    final RejectionReason reason;

    Rejected(Ref ref, String sec, RejectionReason reason) {
      this.ref = ref;
      this.sec = sec;
      this.reason = reason;
    }
  }

  private record Written(long nonce, Rejected item) {}

  /** The rejections of one stream: to write, and written with the nonce whose echo confirms them. */
  private static final class Lane {
    final Deque<Rejected> queued = new ArrayDeque<>();
    final Deque<Written> written = new ArrayDeque<>();
  }

  private final Map<Ref, Rejected> held = new LinkedHashMap<>();
  private final Map<String, Lane> lanes = new HashMap<>();

  int size() {
    return held.size();
  }

  boolean has(Ref ref) {
    return held.containsKey(ref);
  }

  void add(Ref ref, String sec, RejectionReason reason) {
    Rejected item = new Rejected(ref, sec, reason);
    held.remove(ref);
    held.put(ref, item);
    if (held.size() > REJECTIONS_MAX) {
      held.remove(held.keySet().iterator().next());
    }
    queue(item, sec);
  }

  /** Says again what will not run here: to the saga's owner, so that its reading counts. */
  void repeat(Ref ref, String sec, boolean owner) {
    Rejected item = held.get(ref);
    if (owner) {
      add(ref, sec, item.reason);
    } else {
      queue(item, sec);
    }
  }

  void reassign(NewOwner.Finder finder) {
    for (Rejected item : held.values()) {
      NewOwner owner = finder.of(item.ref, item.sec);
      if (owner != null && !owner.sec().isEmpty()) {
        item.sec = owner.sec();
        queue(item, item.sec);
      }
    }
  }

  /** Queues every rejection of a SEC again for its new stream, and those of SECs that are gone. */
  void opened(String sec) {
    Lane lane = new Lane();
    for (Rejected item : held.values()) {
      if (item.sec.equals(sec) || item.sec.isEmpty()) {
        lane.queued.add(item);
      }
    }
    lanes.put(sec, lane);
  }

  void closed(String sec) {
    lanes.remove(sec);
  }

  /** Lets anybody's reading count for what was of a SEC that will not come back. */
  void release(Predicate<String> gone) {
    for (Rejected item : held.values()) {
      if (!item.sec.isEmpty() && gone.test(item.sec)) {
        item.sec = "";
      }
    }
  }

  boolean hasQueued(String sec) {
    Lane lane = lanes.get(sec);
    return lane != null && !lane.queued.isEmpty();
  }

  /** What is to be written next within a budget of bytes; nonce is of the heartbeat that leaves with it or next. */
  List<Rejection> take(String sec, int budget, long nonce) {
    Lane lane = lanes.get(sec);
    List<Rejection> taken = new ArrayList<>();
    while (!lane.queued.isEmpty()) {
      Rejected item = lane.queued.peek();
      Rejection message = Rejection.newBuilder().setRef(item.ref.message()).setReason(item.reason).build();
      budget -= message.getSerializedSize() + ITEM_OVERHEAD;
      if (budget < 0) {
        break;
      }
      lane.queued.poll();
      lane.written.add(new Written(nonce, item));
      taken.add(message);
    }
    return taken;
  }

  /** Forgets what was written before the heartbeat that a SEC has echoed. */
  void confirm(String sec, long nonce) {
    Lane lane = lanes.get(sec);
    while (lane != null && !lane.written.isEmpty() && lane.written.peek().nonce <= nonce) {
      Rejected item = lane.written.poll().item;
      if (held.get(item.ref) == item && (item.sec.equals(sec) || item.sec.isEmpty())) {
        held.remove(item.ref);
      }
    }
  }

  /** Goes over the rejections of a SEC, or with "" over all. */
  void of(String sec, Consumer<Ref> each) {
    for (Rejected item : held.values()) {
      if (sec.isEmpty() || item.sec.equals(sec)) {
        each.accept(item.ref);
      }
    }
  }

  boolean owed(String sec) {
    return held.values().stream().anyMatch(item -> sec.isEmpty() || item.sec.equals(sec));
  }

  private void queue(Rejected item, String sec) {
    Lane lane = lanes.computeIfAbsent(sec, s -> new Lane());
    lane.queued.add(item);
    if (lane.queued.size() > REJECTIONS_MAX) {
      lane.queued.poll();
    }
  }
}
