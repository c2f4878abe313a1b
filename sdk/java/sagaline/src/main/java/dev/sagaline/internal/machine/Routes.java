package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Knows which way a result takes: to the owner on a stream, to the owner's address by a call, or to any SEC, which answers
 * with the owner's name. A lane is where a result is queued: a SEC's name, or CALL_LANE and an address.
 */
final class Routes {
  /** What the lane of a call begins with. No SEC has such a name: there is a space in it. */
  static final String CALL_LANE = "call ";

  private static final class Call {
    boolean underWay;
    int failures;
    long notBefore;
  }

  /** Whether streams to an address are held or tried: where these can't be had, a call would fail too. */
  Predicate<String> linked = address -> false;

  private final List<String> open = new ArrayList<>();
  private final Map<String, Call> calls = new HashMap<>();
  private final Map<String, String> addresses =
      new LinkedHashMap<>() {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, String> eldest) {
          return size() > ADDRESSES_MAX;
        }
      };
  private int turn;

  void opened(String sec) {
    if (!open.contains(sec)) {
      open.add(sec);
    }
  }

  void closed(String sec) {
    open.remove(sec);
  }

  boolean isOpen(String sec) {
    return open.contains(sec);
  }

  void learn(String sec, String address) {
    if (!sec.isEmpty() && !address.isEmpty()) {
      addresses.put(sec, address);
    }
  }

  /** The lane for a result of an owner, who may be unknown; null while there is no way at all. */
  String laneTo(String owner, long now) {
    if (isOpen(owner)) {
      return owner;
    }
    String address = addresses.get(owner);
    if (address != null && !linked.test(address) && mayCall(address, now)) {
      return CALL_LANE + address;
    }
    if (open.isEmpty()) {
      return null;
    }
    turn = (turn + 1) % open.size();
    return open.get(turn);
  }

  private boolean mayCall(String address, long now) {
    Call call = calls.get(address);
    return call == null || now >= call.notBefore;
  }

  /** Whether a call may be made now, which then counts as made: one at a time to an address, and few at all. */
  boolean beginCall(String address) {
    Call call = calls.get(address);
    if (calls.values().stream().filter(other -> other.underWay).count() >= CALLS_MAX || (call != null && call.underWay)) {
      return false;
    }
    calls.computeIfAbsent(address, a -> new Call()).underWay = true;
    return true;
  }

  /** Lets the next call wait, longer each time, after one without an answer. */
  void endCall(String address, boolean answered, long now) {
    if (answered) {
      calls.remove(address);
      return;
    }
    Call call = calls.get(address);
    if (call != null) {
      call.underWay = false;
      call.failures++;
      call.notBefore = now + searchDelay(call.failures);
    }
  }
}
