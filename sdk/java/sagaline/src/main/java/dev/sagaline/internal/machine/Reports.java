package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.InFlightEntry;
import dev.sagaline.v1.InFlightReport;
import dev.sagaline.v1.InFlightState;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * What is still to be reported on one stream. States are looked up when a frame is made, not when they were asked for:
 * `complete` speaks of everything up to the ack_sequence of its frame (W35).
 */
final class Reports {
  private final Holdings holdings;
  private final Deque<Ref> asked = new ArrayDeque<>();
  private boolean everything;
  private String of = "";
  private Set<Ref> told = new HashSet<>();

  Reports(Holdings holdings) {
    this.holdings = holdings;
  }

  boolean pending() {
    return everything || !asked.isEmpty();
  }

  /** What was asked on an old stream is answered by hello. */
  void clear() {
    asked.clear();
    everything = false;
  }

  /** Reports all that is held of a SEC, or with "" of all. A report of all that is not told in full yet stays one. */
  void tellAll(String of) {
    if (!everything || !this.of.isEmpty()) {
      this.of = of;
    }
    everything = true;
    told = new HashSet<>();
  }

  /** Reports this attempt, held or not. */
  void about(Ref ref) {
    asked.add(ref);
    if (asked.size() > ASKED_MAX) {
      asked.poll();
    }
  }

  /** The next part within a budget of bytes; only the last part of everything is complete (W37). */
  InFlightReport take(int budget) {
    var report = InFlightReport.newBuilder();
    while (!asked.isEmpty()) {
      Ref ref = asked.peek();
      budget = add(report, ref, holdings.stateOf(ref), budget);
      if (budget < 0) {
        return report.build();
      }
      asked.poll();
    }
    if (everything) {
      for (Map.Entry<Ref, InFlightState> entry : holdings.report(of).entrySet()) {
        if (told.contains(entry.getKey())) {
          continue;
        }
        budget = add(report, entry.getKey(), entry.getValue(), budget);
        if (budget < 0) {
          return report.build();
        }
        told.add(entry.getKey());
      }
      report.setComplete(true);
      everything = false;
      told = new HashSet<>();
    }
    return report.build();
  }

  /** What is left of the budget; below zero: it did not fit and was not added. */
  private static int add(InFlightReport.Builder report, Ref ref, InFlightState state, int budget) {
    InFlightEntry entry = InFlightEntry.newBuilder().setRef(ref.message()).setState(state).build();
    int left = budget - entry.getSerializedSize() - ITEM_OVERHEAD;
    if (left >= 0) {
      report.addEntries(entry);
    }
    return left;
  }
}
