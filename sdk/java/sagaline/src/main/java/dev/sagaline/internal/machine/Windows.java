package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.Demand;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Splits the slots over the streams so that what is granted never exceeds them: a window grows only by what no other holds
 * any more (W58). A split is made at once when a stream comes or goes, and else at most once a second.
 */
final class Windows {
  /** What a SEC wants of a pool: what it has here already, and what waits there. */
  record Want(int held, int ready) {
    int all() {
      return held + ready;
    }

    private int urgency() {
      return ready > 0 ? 0 : held > 0 ? 1 : 2;
    }
  }

  /** One stream's share of every pool. */
  private static final class Grant {
    final Map<String, Integer> target;
    /** What the stream was told last. */
    final Map<String, Integer> granted = new HashMap<>();
    /** Null until the welcome: until then it has no part in the split. */
    String sec;
    final Map<String, Integer> ready = new HashMap<>();

    Grant(Map<String, Integer> target) {
      this.target = new HashMap<>(target);
    }

    int granted(String pool) {
      return granted.getOrDefault(pool, 0);
    }
  }

  long splitAt = NEVER;

  private final Map<String, Integer> slots;
  private final Supplier<Map<Slots.SecPool, Integer>> used;
  private final Map<String, Grant> grants = new LinkedHashMap<>();
  /** Granted to nobody. */
  private final Map<String, Integer> free;
  private final Set<String> news = new HashSet<>();
  private boolean closed;
  private int turn;
  private long splitLast = Long.MIN_VALUE / 2;

  Windows(Map<String, Integer> slots, Supplier<Map<Slots.SecPool, Integer>> used) {
    this.slots = slots;
    this.used = used;
    this.free = new HashMap<>(slots);
  }

  /**
   * Divides the slots of one pool. If all that is wanted fits, each gets that, and the rest evenly, so that a SEC with new
   * work need not ask first. If not, each with work gets one at least, as long as there are any, and the rest goes in
   * proportion. Who comes first where not all can be served changes with the turn.
   */
  static int[] split(int slots, List<Want> wants, int turn) {
    int count = wants.size();
    int total = wants.stream().mapToInt(Want::all).sum();
    int[] shares = new int[count];
    if (total <= slots) {
      for (int i = 0; i < count; i++) {
        shares[i] = wants.get(i).all() + (slots - total) / count + (i < (slots - total) % count ? 1 : 0);
      }
      return shares;
    }
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      order.add(Math.floorMod(i + turn, count));
    }
    order.sort(Comparator.comparingInt(i -> wants.get(i).urgency()));
    for (int i : order.subList(0, Math.min(slots, count))) {
      shares[i] = 1;
    }
    long left = Math.max(slots - count, 0);
    long[] remainders = new long[count];
    int given = 0;
    for (int i = 0; i < count; i++) {
      shares[i] += (int) (left * wants.get(i).all() / total);
      remainders[i] = left * wants.get(i).all() % total;
      given += shares[i];
    }
    order.sort(Comparator.comparingLong(i -> -remainders[i]));
    for (int i : order.subList(0, slots - given)) {
      shares[i]++;
    }
    return shares;
  }

  int streams() {
    return grants.size();
  }

  /** Until its welcome a stream may be granted what is free; nothing is taken from others for it. */
  void opened(String address) {
    grants.put(address, new Grant(free));
  }

  void welcomed(String address, String sec, long now) {
    grants.get(address).sec = sec;
    splitAnew(now);
  }

  void ended(String address, long now) {
    Grant grant = grants.remove(address);
    if (grant != null) {
      grant.granted.forEach((pool, count) -> free.merge(pool, count, Integer::sum));
      splitAnew(now);
    }
  }

  /** Of pools that a SEC does not name, what it said before stands. */
  void demand(String address, List<Demand> demands, long now) {
    Grant grant = grants.get(address);
    for (Demand demand : demands) {
      if (slots.containsKey(demand.getSlotPool())) {
        grant.ready.put(demand.getSlotPool(), Math.min(Math.max(demand.getReadyCount(), 0), 10 * SLOTS_MAX));
      }
    }
    if (splitLast + SPLIT_TIME <= now) {
      splitAnew(now);
    } else if (splitAt == NEVER) {
      splitAt = splitLast + SPLIT_TIME;
    }
  }

  void tick(long now) {
    if (now >= splitAt) {
      splitAnew(now);
    }
  }

  /** Whether a stream is to be told another window; closed: nobody is to get anything. */
  boolean hasNews(String address, boolean closed) {
    if (closed != this.closed) {
      this.closed = closed;
      judge();
    }
    return news.contains(address);
  }

  /** The window of a stream, which is told now. */
  Map<String, Integer> tell(String address, boolean closed) {
    this.closed = closed;
    Grant grant = grants.get(address);
    Map<String, Integer> window = new HashMap<>();
    for (String pool : slots.keySet()) {
      int count = due(grant, pool);
      free.merge(pool, grant.granted(pool) - count, Integer::sum);
      grant.granted.put(pool, count);
      window.put(pool, count);
    }
    judge();
    return window;
  }

  /** Whether a stream was told to send nothing. */
  boolean grantsNothing(String address) {
    Grant grant = grants.get(address);
    return grant == null || grant.granted.values().stream().allMatch(count -> count == 0);
  }

  private int due(Grant grant, String pool) {
    return closed ? 0 : Math.min(grant.target.getOrDefault(pool, 0), grant.granted(pool) + free.get(pool));
  }

  private void judge() {
    news.clear();
    grants.forEach(
        (address, grant) -> {
          if (slots.keySet().stream().anyMatch(pool -> due(grant, pool) != grant.granted(pool))) {
            news.add(address);
          }
        });
  }

  private void splitAnew(long now) {
    splitLast = now;
    splitAt = NEVER;
    turn++;
    List<Grant> part = grants.values().stream().filter(grant -> grant.sec != null).toList();
    if (!part.isEmpty()) {
      Map<Slots.SecPool, Integer> here = part.size() > 1 ? used.get() : Map.of();
      slots.forEach(
          (pool, size) -> {
            List<Want> wants = new ArrayList<>();
            for (Grant grant : part) {
              wants.add(new Want(here.getOrDefault(new Slots.SecPool(grant.sec, pool), 0), grant.ready.getOrDefault(pool, 0)));
            }
            int[] shares = split(size, wants, turn);
            for (int i = 0; i < shares.length; i++) {
              part.get(i).target.put(pool, shares[i]);
            }
          });
    }
    boolean waits = part.stream().anyMatch(grant -> grant.ready.values().stream().anyMatch(ready -> ready > 0));
    if (part.size() > 1 && waits) {
      splitAt = now + SPLIT_TIME; // what each holds changes while work waits
    }
    judge();
  }
}
