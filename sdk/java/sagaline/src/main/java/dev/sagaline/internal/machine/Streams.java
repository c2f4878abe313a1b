package dev.sagaline.internal.machine;

import java.util.HashMap;
import java.util.Map;

/**
 * Counts what grows over all streams of this worker, so that it grows for each SEC, also where it is reached at another
 * address than before; and knows which stream leads to which SEC. Streams are told apart by the address that was dialled.
 */
final class Streams {
  private static final class Stream {
    final long epoch;
    String sec; // null until the welcome

    Stream(long epoch) {
      this.epoch = epoch;
    }
  }

  private final Map<String, Stream> open = new HashMap<>();
  private long epoch;
  long nonce;

  long opened(String address) {
    open.put(address, new Stream(++epoch));
    return epoch;
  }

  void welcomed(String address, String sec) {
    open.get(address).sec = sec;
  }

  /** The SEC that has no stream any more because of that; null if there is none. */
  String ended(String address) {
    Stream over = open.remove(address);
    if (over == null || over.sec == null) {
      return null;
    }
    return open.values().stream().anyMatch(other -> over.sec.equals(other.sec)) ? null : over.sec;
  }

  /** Whether a younger stream of this worker may have replaced one: of the same SEC, or not welcomed yet. */
  boolean replacedByUs(String address) {
    Stream mine = open.get(address);
    return mine != null
        && open.values().stream()
            .anyMatch(other -> other.epoch > mine.epoch && (other.sec == null || other.sec.equals(mine.sec)));
  }
}
