package dev.sagaline;

import com.google.protobuf.Duration;
import java.util.regex.Pattern;

/** Bounds of what a graph may say, checked where it is said. The SEC checks all of them again. */
final class Check {
  private static final Pattern GRAPH = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,127}");
  private static final Pattern NODE = Pattern.compile("[A-Za-z_][A-Za-z0-9_.-]{0,63}");

  private Check() {}

  static void graphName(String name) {
    if (!GRAPH.matcher(name).matches()) {
      throw new DefinitionException(
          "\"" + name + "\" can't be the name of a graph: 1 to 128 of A-Z a-z 0-9 . _ -, a letter or digit first");
    }
  }

  static void nodeName(String what, String name) {
    if (!NODE.matcher(name).matches()) {
      throw new DefinitionException(
          "\"" + name + "\" can't be the name of " + what + ": 1 to 64 of A-Z a-z 0-9 _ . -, a letter or _ first");
    }
  }

  static void between(String what, double value, double low, double high) {
    if (!(low <= value && value <= high)) {
      throw new DefinitionException(what + " is " + value + ": give " + low + " to " + high);
    }
  }

  static Duration length(String what, java.time.Duration time, long leastNanos) {
    if (time.compareTo(java.time.Duration.ofNanos(leastNanos)) < 0) {
      throw new DefinitionException(what + " is " + time + ": give a time of more than 0, or leave it out");
    }
    return Duration.newBuilder().setSeconds(time.getSeconds()).setNanos(time.getNano()).build();
  }
}
