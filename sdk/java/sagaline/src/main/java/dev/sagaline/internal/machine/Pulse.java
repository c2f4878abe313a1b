package dev.sagaline.internal.machine;

import dev.sagaline.v1.Heartbeat;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * The pulse of one stream. Three kinds of silence mean that it is dead (W42): no frame comes; frames come but our heartbeats
 * are not echoed, so the SEC does not read; and a heartbeat can't even be written.
 */
final class Pulse {
  private static final class Beat {
    final long nonce;
    long at;

    Beat(long nonce, long at) {
      this.nonce = nonce;
      this.at = at;
    }
  }

  /** A heartbeat is to leave with the next frame. */
  boolean isDue;
  long heardAt;

  private final Streams streams;
  private final Deque<Beat> unechoed = new ArrayDeque<>();
  private Terms terms = Terms.DEFAULT;
  private long beatAt;
  private long dueSince;
  private long lagMax;

  Pulse(Streams streams) {
    this.streams = streams;
  }

  void start(long now, Terms terms) {
    this.terms = terms;
    isDue = false;
    beatAt = now + terms.heartbeatInterval();
    heardAt = now;
    unechoed.clear();
  }

  void echoed(long nonce) {
    while (!unechoed.isEmpty() && unechoed.peek().nonce <= nonce) {
      unechoed.poll();
    }
  }

  /** Lets the next heartbeat leave now, unless one is under way whose echo is waited for. */
  void hurry(long now) {
    if (!isDue && unechoed.isEmpty()) {
      isDue = true;
      dueSince = now;
    }
  }

  /** The heartbeat that leaves now. */
  Heartbeat beat(long now, int held, long unackedBytes) {
    long nonce = ++streams.nonce;
    isDue = false;
    beatAt = now + terms.heartbeatInterval();
    unechoed.add(new Beat(nonce, now));
    long lag = lagMax;
    lagMax = 0;
    return Heartbeat.newBuilder()
        .setNonce(nonce)
        .setInFlightCount(held)
        .setUnackedResultBytes(unackedBytes)
        .setMaxLoopLag(Limits.durationOf(lag))
        .build();
  }

  /** For so long nothing could have been read or written here, which doesn't count against the SEC. */
  void stoodStill(long lag) {
    if (lag <= 0) {
      return;
    }
    lagMax = Math.max(lag, lagMax);
    heardAt += lag;
    dueSince += lag;
    for (Beat beat : unechoed) {
      beat.at += lag;
    }
  }

  /** Makes a heartbeat due, or says why the stream is dead; null while it is not. */
  String tick(long now) {
    if (!isDue && now >= beatAt) {
      isDue = true;
      dueSince = now;
    }
    long timeout = terms.heartbeatTimeout();
    String time = timeout / Limits.MILLISECOND + " ms";
    if (now >= heardAt + timeout) {
      return "no frame for " + time;
    }
    if (!unechoed.isEmpty() && now >= unechoed.peek().at + timeout) {
      return "no echo of a heartbeat for " + time;
    }
    return isDue && now >= dueSince + timeout ? "nothing could be written for " + time : null;
  }

  long nextDeadline() {
    long timeout = terms.heartbeatTimeout();
    long deadline = Math.min(heardAt + timeout, isDue ? dueSince + timeout : beatAt);
    return unechoed.isEmpty() ? deadline : Math.min(deadline, unechoed.peek().at + timeout);
  }
}
