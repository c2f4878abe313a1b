package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.InvocationResult;
import dev.sagaline.v1.ResultAck;
import dev.sagaline.v1.ResultStatus;
import dev.sagaline.v1.Sec;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Keeps each result until its final acknowledgement, in the order in which they came (W27). A result is worth the same on
 * any SEC, and only the saga's owner can take it: it goes to the owner's stream, by a call to the owner's address, or on
 * any stream, where the answer names the owner. Results of a SEC without a stream wait a little first, for mostly it comes
 * back.
 */
final class Results {
  enum Sending {
    /** There is no way for it: no stream is open. */
    STRANDED,
    IN_LANE,
    /** Sent on its lane, and not answered. */
    WRITTEN,
    /** To be sent later. */
    PARKED
  }

  /** A result without a final acknowledgement. */
  static final class Unacked {
    final Ref ref;
    /** The SEC that is to take it; "" if nobody knows. */
    String owner;
    InvocationResult message;
    int size;
    String lane = "";
    Sending sending = Sending.STRANDED;
    /** Which parking is the present one: the queue may still hold earlier ones. */
    long parking;
    /** How often a SEC said that it is not the owner, since we believed to know. */
    int redirects;

    Unacked(Ref ref, String owner, InvocationResult message) {
      this.ref = ref;
      this.owner = owner;
      say(message);
    }

    void say(InvocationResult message) {
      this.message = message;
      this.size = message.getSerializedSize() + ITEM_OVERHEAD;
    }

    boolean isIn(String lane) {
      return this.lane.equals(lane) && (sending == Sending.IN_LANE || sending == Sending.WRITTEN);
    }
  }

  private record Parking(long at, long number, Unacked item) {}

  /** What to tell at an address by a call. */
  record Telling(String address, List<InvocationResult> results) {}

  final Map<Ref, Unacked> held = new LinkedHashMap<>();
  final Routes routes = new Routes();
  long bytes;
  /** From the moment a bound is passed until both are well below. */
  boolean full;

  private final Map<String, Deque<Unacked>> lanes = new HashMap<>();
  private final PriorityQueue<Parking> parked =
      new PriorityQueue<>(Comparator.comparingLong(Parking::at).thenComparingLong(Parking::number));
  private final Set<String> calls = new LinkedHashSet<>();
  private long parkings;

  void add(Ref ref, String sec, InvocationResult message, long now) {
    Unacked item = new Unacked(ref, sec, message);
    held.put(ref, item);
    bytes += item.size;
    judge();
    sendToOwner(item, now);
  }

  /** Says something else instead, in the same place. */
  void replace(Unacked item, InvocationResult message) {
    bytes -= item.size;
    item.say(message);
    bytes += item.size;
  }

  /** Goes over the results that concern a SEC, or with "" over all. */
  void of(String sec, Consumer<Ref> each) {
    for (Unacked item : held.values()) {
      if (sec.isEmpty() || item.owner.equals(sec) || item.lane.equals(sec)) {
        each.accept(item.ref);
      }
    }
  }

  private static boolean isFinal(ResultStatus status) {
    return switch (status) {
      case RESULT_STATUS_RECORDED, RESULT_STATUS_DUPLICATE, RESULT_STATUS_SUPERSEDED, RESULT_STATUS_NOT_FOUND,
          RESULT_STATUS_INVALID -> true;
      default -> false;
    };
  }

  /**
   * Takes the fate of a result that was told on a lane, and says whether it is forgotten because of that. A status that is
   * not known here keeps it: forgetting could lose it.
   */
  boolean acknowledge(ResultAck ack, String lane, long now) {
    Unacked item = held.get(Ref.of(ack.getRef()));
    if (item == null) {
      return false;
    }
    if (isFinal(ack.getStatus())) {
      held.remove(item.ref);
      bytes -= item.size;
      judge();
      return true;
    }
    if (!item.lane.equals(lane) || item.sending != Sending.WRITTEN) {
      return false; // it has been queued again since, or goes elsewhere by now
    }
    if (ack.getStatus() == ResultStatus.RESULT_STATUS_NOT_OWNER) {
      redirect(item, ack.getOwner(), now);
      return false;
    }
    long delay = ack.hasRetryDelay() ? nanosOf(ack.getRetryDelay()) : RETRY_DELAY;
    park(item, now + Math.min(Math.max(delay, RETRY_DELAY_MIN), RETRY_DELAY_MAX));
    return false;
  }

  /** Heeds a SEC that names the owner: at once the first time; a search that goes on slows down. */
  private void redirect(Unacked item, Sec owner, long now) {
    item.redirects++;
    item.owner = owner.getSecId();
    routes.learn(owner.getSecId(), owner.getAddress());
    if (!item.owner.isEmpty() && item.redirects == 1) {
      route(item, now);
    } else {
      park(item, now + searchDelay(item.redirects));
    }
  }

  /** Gives a result to a SEC that owns the saga, or is to own it. */
  void assign(Unacked item, String sec, long epoch, long now) {
    if (epoch > item.message.getEpoch()) {
      replace(item, item.message.toBuilder().setEpoch(epoch).build());
    }
    item.owner = sec;
    item.redirects = 0;
    if (item.sending != Sending.IN_LANE || !item.lane.equals(sec)) {
      sendToOwner(item, now);
    }
  }

  void reassign(NewOwner.Finder finder, long now) {
    for (Unacked item : held.values()) {
      NewOwner owner = finder.of(item.ref, item.owner);
      if (owner != null) {
        assign(item, owner.sec(), owner.epoch(), now);
      }
    }
  }

  /** Queues all that is of a SEC for its new stream, oldest first. */
  void opened(String sec, long now) {
    routes.opened(sec);
    lanes.put(sec, new ArrayDeque<>());
    for (Unacked item : held.values()) {
      if (item.owner.equals(sec) || (item.lane.equals(sec) && !routes.isOpen(item.owner))) {
        enqueue(item, sec);
      } else if (item.sending == Sending.STRANDED) {
        park(item, now + ASTRAY_TIME);
      }
    }
  }

  void closed(String sec, long now) {
    routes.closed(sec);
    lanes.remove(sec);
    for (Unacked item : held.values()) {
      if (item.isIn(sec)) {
        park(item, now + ASTRAY_TIME);
      }
    }
  }

  boolean hasQueued(String lane) {
    Deque<Unacked> queue = lanes.get(lane);
    if (queue == null) {
      return false;
    }
    while (!queue.isEmpty() && !isDue(queue.peek(), lane)) {
      queue.poll();
    }
    return !queue.isEmpty();
  }

  /** The results to write next, oldest first, within a budget of bytes. */
  List<InvocationResult> take(String lane, int budget, int most) {
    List<InvocationResult> taken = new ArrayList<>();
    while (taken.size() < most && hasQueued(lane)) {
      Unacked item = lanes.get(lane).peek();
      if (item.size > budget) {
        break;
      }
      lanes.get(lane).poll();
      budget -= item.size;
      item.sending = Sending.WRITTEN;
      taken.add(item.message);
    }
    return taken;
  }

  /** The addresses to call now, each with what to tell there. */
  List<Telling> takeCalls() {
    List<Telling> tellings = new ArrayList<>();
    for (String address : List.copyOf(calls)) {
      String lane = Routes.CALL_LANE + address;
      if (!hasQueued(lane)) {
        calls.remove(address);
        lanes.remove(lane);
      } else if (routes.beginCall(address)) {
        tellings.add(new Telling(address, take(lane, FRAME_BYTES, CALL_RESULTS_MAX)));
      }
    }
    return tellings;
  }

  /** Takes the end of a call; with null it had no answer. Gives what is forgotten because of it. */
  List<ResultAck> called(String address, List<ResultAck> acks, long now) {
    String lane = Routes.CALL_LANE + address;
    routes.endCall(address, acks != null, now);
    List<ResultAck> forgotten = new ArrayList<>();
    for (ResultAck ack : acks == null ? List.<ResultAck>of() : acks) {
      if (acknowledge(ack, lane, now)) {
        forgotten.add(ack);
      }
    }
    for (Unacked item : held.values()) {
      if (!item.isIn(lane)) {
        continue;
      }
      if (acks == null) {
        route(item, now);
      } else if (item.sending == Sending.WRITTEN) {
        park(item, now + RETRY_DELAY);
      }
    }
    return forgotten;
  }

  /** Sends what was parked until now. */
  void wake(long now) {
    while (!parked.isEmpty() && now >= parked.peek().at) {
      Parking parking = parked.poll();
      Unacked item = parking.item;
      if (held.get(item.ref) == item && item.sending == Sending.PARKED && item.parking == parking.number) {
        route(item, now);
      }
    }
  }

  /** May be too early, never too late. */
  long nextWake() {
    return parked.isEmpty() ? NEVER : parked.peek().at;
  }

  private void sendToOwner(Unacked item, long now) {
    if (routes.isOpen(item.owner)) {
      enqueue(item, item.owner);
    } else {
      park(item, now + ASTRAY_TIME);
    }
  }

  private void route(Unacked item, long now) {
    String lane = routes.laneTo(item.owner, now);
    if (lane == null) {
      item.sending = Sending.STRANDED;
      return;
    }
    enqueue(item, lane);
    if (lane.startsWith(Routes.CALL_LANE)) {
      calls.add(lane.substring(Routes.CALL_LANE.length()));
    }
  }

  private void park(Unacked item, long until) {
    item.sending = Sending.PARKED;
    item.parking = ++parkings;
    parked.add(new Parking(until, item.parking, item));
  }

  private void enqueue(Unacked item, String lane) {
    item.sending = Sending.IN_LANE;
    item.lane = lane;
    lanes.computeIfAbsent(lane, l -> new ArrayDeque<>()).add(item);
  }

  /** Whether an entry of a queue still stands: an acknowledgement, a new stream or another SEC may have come first. */
  private boolean isDue(Unacked item, String lane) {
    return held.get(item.ref) == item && item.sending == Sending.IN_LANE && item.lane.equals(lane);
  }

  private void judge() {
    int percent = full ? RESUME_PERCENT : 100;
    full = bytes > UNACKED_BYTES_MAX / 100 * percent || held.size() > UNACKED_RESULTS_MAX * percent / 100;
  }
}
