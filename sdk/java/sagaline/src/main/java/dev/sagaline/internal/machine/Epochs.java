package dev.sagaline.internal.machine;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Remembers the highest epoch seen of each saga, so that a SEC that lost a saga can't start anything here (W21). The
 * sagas seen least recently are forgotten first.
 */
final class Epochs {
  private final Map<String, Long> highest =
      new LinkedHashMap<>() {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
          return size() > Limits.EPOCHS_MAX;
        }
      };

  boolean stale(String saga, long epoch) {
    return epoch < highest.getOrDefault(saga, 0L);
  }

  void see(String saga, long epoch) {
    Long before = highest.remove(saga);
    highest.put(saga, before == null ? epoch : Math.max(epoch, before));
  }
}
