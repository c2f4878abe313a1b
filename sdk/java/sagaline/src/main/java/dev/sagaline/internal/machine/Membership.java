package dev.sagaline.internal.machine;

import dev.sagaline.v1.Sec;
import dev.sagaline.v1.SecSet;
import java.util.LinkedHashMap;
import java.util.Map;

/** The newest set of SECs that was taken: sets come from every SEC, at any time. */
final class Membership {
  /** Of the SECs to hold streams to. */
  Map<String, String> addresses = new LinkedHashMap<>();

  private long revision = -1;

  /** No SEC can be heard, and revisions may begin anew. */
  void forgetRevision() {
    revision = -1;
  }

  /** Whether a set is newer, and so in force from now on. One without SECs says nothing: somebody sent it. */
  boolean take(SecSet set) {
    if (set.getRevision() <= revision || set.getSecsCount() == 0) {
      return false;
    }
    revision = set.getRevision();
    Map<String, String> all = new LinkedHashMap<>();
    Map<String, String> assigned = new LinkedHashMap<>();
    for (Sec sec : set.getSecsList()) {
      if (sec.getSecId().isEmpty() || sec.getAddress().isEmpty()) {
        continue;
      }
      all.put(sec.getSecId(), sec.getAddress());
      if (set.getAssignedSecIdsList().contains(sec.getSecId())) {
        assigned.put(sec.getSecId(), sec.getAddress());
      }
    }
    addresses = assigned.isEmpty() ? all : assigned;
    return true;
  }

  boolean hasAddress(String address) {
    return addresses.containsValue(address);
  }
}
