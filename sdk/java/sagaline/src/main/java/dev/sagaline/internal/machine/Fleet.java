package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.ConnectResponse;
import dev.sagaline.v1.Hello;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.ReportResultsRequest;
import dev.sagaline.v1.ResultAck;
import dev.sagaline.v1.SecSet;
import dev.sagaline.v1.WorkerCapability;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.event.Level;

/**
 * All sessions of this worker: which addresses are dialled, and when. It is what the shell talks to.
 *
 * <p>The worker knows a few bootstrap addresses from its user. One of them is dialled, the next when that fails, and so on;
 * whichever SEC answers tells who the SECs are, and then each is dialled at its own address. From there on the bootstrap
 * addresses are a fall-back for when there is no stream at all.
 *
 * <p>Two streams to one SEC at a time must not be: the SEC would take what the second hello says to be held for the whole
 * truth, while the first stream still brought invocations. A SEC's own address leads to that SEC; but who answers at a
 * bootstrap address is not known before, since it may be a load balancer's. So it is dialled only while no other stream is
 * open or on its way, and until it is welcomed no other is begun.
 */
public final class Fleet {
  /** What was left behind by a worker that had no time left. */
  public record LeftBehind(List<Ref> stillRun, int unacknowledged) {}

  private final Holdings holdings;
  private final Hello hello;
  private final Map<String, Session> sessions = new LinkedHashMap<>();
  private final Deque<String> bootstrap;
  private final Membership members = new Membership();
  private final Map<String, Effect.Reconnect> retries = new HashMap<>();
  /** Addresses that the shell was told to dial, and has not yet. */
  private final Set<String> ordered = new HashSet<>();
  /** The address at which a SEC answered last. */
  private String favourite = "";
  private long planAt = NEVER;
  private String error;

  /** A fleet that has dialled nothing yet. */
  public Fleet(Hello hello, Holdings holdings, List<String> bootstrap) {
    this.hello =
        hello.toBuilder()
            .setProtocolVersion(PROTOCOL_VERSION)
            .addCapabilities(WorkerCapability.WORKER_CAPABILITY_SEVERAL_SECS)
            .build();
    this.holdings = holdings;
    this.bootstrap = new ArrayDeque<>(new LinkedHashSet<>(bootstrap));
    holdings.results.routes.linked = sessions::containsKey;
  }

  // ---- events

  /** Begins to dial. */
  public List<Effect> start(long now) {
    return settle(now, true);
  }

  /** The session at an address, null if there is none. */
  public Session session(String address) {
    return sessions.get(address);
  }

  /** The shell has a stream for a session, and will pull its first frame. */
  public List<Effect> opened(Session session, long now) {
    ordered.remove(session.address);
    session.opened(now);
    return settle(now, false);
  }

  /** A frame came. None of a stream may come after its end: only so can hello say what is held (W4). */
  public List<Effect> received(Session session, ConnectResponse frame, long now) {
    session.received(frame, now);
    return settle(now, false);
  }

  /** The frames pulled are written: a worker that leaves may have said everything by now. */
  public List<Effect> written(long now) {
    return settle(now, false);
  }

  /** A stream is over; the draw is random, from 0 to 1. */
  public List<Effect> ended(Session session, long now, String why, double draw) {
    session.ended(now, why, draw);
    return settle(now, true);
  }

  /** A call of ReportResults is over; with null it had no answer. */
  public List<Effect> called(String address, List<ResultAck> acks, long now) {
    holdings.called(address, acks, now);
    return settle(now, false);
  }

  /** User code ended. Its slot is free at once; the window, when the result has been read. */
  public List<Effect> finished(Ref ref, Outcome outcome, long now) {
    holdings.finished(ref, outcome, now);
    return settle(now, false);
  }

  /** An attempt was not handed to user code, and never will be. */
  public List<Effect> notStarted(Ref ref, long now) {
    holdings.notStarted(ref, now);
    return settle(now, false);
  }

  /** User code is alive. */
  public List<Effect> progress(Ref ref, Payload details, long now) {
    holdings.reportProgress(ref, details, now);
    return settle(now, false);
  }

  /** Begins to leave, or to leave sooner than was said before. */
  public List<Effect> drain(long now, long timeout) {
    holdings.drain(now, timeout);
    return tick(now, 0);
  }

  /** Time has passed; lag is how long the shell stood still and could not have read a frame. */
  public List<Effect> tick(long now, long lag) {
    holdings.tick(now);
    for (Session session : sessions.values()) {
      session.tick(now, lag);
    }
    return settle(now, true);
  }

  /** When tick has something to do; Long.MAX_VALUE: never. */
  public long nextDeadline() {
    if (closed()) {
      return NEVER;
    }
    long deadline = Math.min(holdings.nextDeadline(), planAt);
    for (Session session : sessions.values()) {
      deadline = Math.min(deadline, session.nextDeadline());
    }
    return deadline;
  }

  /** Whether a session is open at this moment. */
  public boolean connected() {
    return sessions.values().stream().anyMatch(session -> session.state == Session.State.OPEN);
  }

  /** Whether the worker has left. */
  public boolean closed() {
    return holdings.draining && sessions.isEmpty();
  }

  /** Why the worker can't go on, though nobody asked it to leave; null while it can. */
  public String error() {
    return error;
  }

  public LeftBehind leftBehind() {
    List<Ref> running =
        holdings.slots.attempts.values().stream()
            .filter(attempt -> attempt.state == Attempt.State.RUNNING)
            .map(attempt -> attempt.ref)
            .toList();
    return new LeftBehind(running, holdings.results.held.size());
  }

  // ---- inside

  /** Takes out the effects that are for the fleet, until nothing follows from them any more. */
  private List<Effect> settle(long now, boolean plan) {
    List<Effect> passedOn = new ArrayList<>();
    do {
      for (Effect effect : holdings.effects.take()) {
        if (effect instanceof Effect.Reconnect reconnect) {
          retries.put(reconnect.address(), reconnect);
          plan = true;
        } else if (effect instanceof Effect.Members told) {
          takeMembers(told.secs());
          plan = true;
        } else {
          if (effect instanceof Effect.Welcomed welcomed) {
            welcomed(welcomed);
            plan = true;
          } else if (effect instanceof Effect.Closed closed) {
            forget(closed, now);
            plan = true;
          }
          passedOn.add(effect);
        }
      }
      if (holdings.draining) {
        sessions.values().forEach(session -> session.conclude(now));
        plan = true;
      }
      if (plan) {
        plan(now);
        plan = false;
      }
    } while (!holdings.effects.isEmpty());
    if (closed()) {
      return passedOn; // who has left asks nobody for anything
    }
    for (Results.Telling telling : holdings.results.takeCalls()) {
      var request = ReportResultsRequest.newBuilder().addAllResults(telling.results()).setWorkerId(hello.getWorkerId());
      passedOn.add(new Effect.Call(telling.address(), request.build()));
    }
    return passedOn;
  }

  private void welcomed(Effect.Welcomed welcomed) {
    favourite = welcomed.address();
    boolean heard = false;
    for (Session other : sessions.values()) {
      heard |= !other.address.equals(welcomed.address()) && other.state == Session.State.OPEN;
    }
    if (!heard) {
      members.forgetRevision();
    }
    for (Session other : sessions.values()) {
      if (!other.address.equals(welcomed.address())
          && other.sec.equals(welcomed.sec())
          && other.state == Session.State.OPEN) {
        // Two addresses lead to one SEC, and it has ended the older stream by now.
        holdings.effects.note(
            Level.WARN, "two addresses lead to one SEC",
            "sec", welcomed.sec(), "one", other.address, "two", welcomed.address());
        other.giveUp("replaced by another stream of this worker");
      }
    }
  }

  private void takeMembers(SecSet set) {
    if (members.take(set)) {
      holdings.members(set.getSecsList());
      holdings.effects.note(Level.INFO, "membership", "revision", set.getRevision(), "secs", members.addresses.size());
    }
  }

  private void forget(Effect.Closed closed, long now) {
    sessions.remove(closed.address());
    retries.remove(closed.address());
    ordered.remove(closed.address());
    if (closed.error() != null && error == null) {
      error = closed.error();
      holdings.drain(now, 0);
    }
  }

  // ---- dialling

  /** Dials what is due and may be dialled, and lets go of addresses that are good for nothing any more. */
  private void plan(long now) {
    planAt = NEVER;
    if (holdings.givenUp || error != null) {
      return;
    }
    if (holdings.draining && !holdings.busy()) {
      dialForRejections(now);
    } else {
      dialDue(now);
    }
    // When is the next address due? What is due and may not be dialled waits for an event, not for a time.
    retries.forEach(
        (address, retry) -> {
          Session session = sessions.get(address);
          if (session != null && retry.at() > now && !isBusy(session)) {
            planAt = Math.min(planAt, retry.at());
          }
        });
  }

  private void dialDue(long now) {
    Set<String> taken = new HashSet<>();
    int busy = 0;
    for (Session session : sessions.values()) {
      if (!isBusy(session)) {
        if (!members.hasAddress(session.address) && !bootstrap.contains(session.address)) {
          session.close();
        }
      } else if (session.sec.isEmpty() && (session.state == Session.State.IDLE || session.state == Session.State.GREETING)) {
        return; // nobody knows who will answer there
      } else {
        busy++;
        taken.add(session.sec);
      }
    }
    if (busy == 0 && favouriteFirst() && dialIfDue(favourite, "", now)) {
      return;
    }
    for (Map.Entry<String, String> member : members.addresses.entrySet()) {
      if (!taken.contains(member.getKey()) && dialIfDue(member.getValue(), member.getKey(), now)) {
        taken.add(member.getKey());
      }
    }
    if (busy == 0 && ordered.isEmpty()) {
      dialBootstrap(now);
    }
  }

  /** While leaving, with nothing held any more, the sessions that are left owe a rejection. */
  private void dialForRejections(long now) {
    for (Session session : List.copyOf(sessions.values())) {
      boolean alone = sessions.values().stream().noneMatch(this::isBusy);
      if (alone || members.hasAddress(session.address)) {
        dialIfDue(session.address, session.sec, now);
      }
    }
  }

  private boolean isBusy(Session session) {
    return session.state != Session.State.IDLE || ordered.contains(session.address);
  }

  /** Whether the bootstrap address that worked until now is to be tried again before anything else. */
  private boolean favouriteFirst() {
    if (!bootstrap.contains(favourite) || members.hasAddress(favourite)) {
      return false;
    }
    Effect.Reconnect retry = retries.get(favourite);
    return retry == null || retry.failures() == 0;
  }

  private boolean dialIfDue(String address, String sec, long now) {
    Effect.Reconnect retry = retries.get(address);
    Session session = sessions.get(address);
    if ((retry != null && retry.at() > now) || (session != null && isBusy(session))) {
      return false;
    }
    if (session == null) {
      session = new Session(address, hello, holdings);
      sessions.put(address, session);
    }
    session.sec = sec;
    ordered.add(address);
    holdings.effects.add(new Effect.Connect(address, retry != null && retry.fresh()));
    return true;
  }

  private void dialBootstrap(long now) {
    for (int i = 0; i < bootstrap.size(); i++) {
      String address = bootstrap.poll();
      bootstrap.add(address);
      if (!members.hasAddress(address) && dialIfDue(address, "", now)) {
        return;
      }
    }
  }
}
