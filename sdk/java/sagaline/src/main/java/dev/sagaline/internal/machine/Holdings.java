package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.internal.machine.Attempt.State;
import dev.sagaline.v1.Adoption;
import dev.sagaline.v1.InFlightState;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.RejectionReason;
import dev.sagaline.v1.ResultAck;
import dev.sagaline.v1.ResultStatus;
import dev.sagaline.v1.SagaMoved;
import dev.sagaline.v1.Sec;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.event.Level;

/**
 * What this worker holds, whichever SEC it came from. Its promises:
 *
 * <ul>
 *   <li>user code runs for each attempt at most once, and of each node at most one attempt at a time;
 *   <li>every attempt taken is answered: by a result once it was handed to user code, and by a rejection only before.
 *       Answers are kept until a SEC has confirmed them, and follow their saga from SEC to SEC;
 *   <li>never more running than slots, never more held than slots and a small excess;
 *   <li>no attempt of a lower epoch starts after a higher one of the same saga was seen.
 * </ul>
 */
public final class Holdings {
  final Effects effects = new Effects();
  final Streams streams = new Streams();
  final Results results = new Results();
  final Rejections rejections = new Rejections();
  final ProgressBook progress = new ProgressBook();
  final Slots slots;
  final Windows windows;
  boolean draining;
  /** The drain's time and the grace are over: sessions close whatever is left. */
  boolean givenUp;

  private final Map<Side, String> served;
  private final Epochs epochs = new Epochs();
  private final Map<String, Integer> payloadBytes = new HashMap<>();
  private int payloadMax = PAYLOAD_BYTES;
  /** Null while nobody has told. */
  private Set<String> memberIds;
  private long drainAt = NEVER;
  private long giveUpAt = NEVER;

  /** For what is served, with the slot pool that each uses, and the slots by pool. */
  public Holdings(Map<Side, String> served, Map<String, Integer> sizes) {
    this.served = Map.copyOf(served);
    slots = new Slots(Map.copyOf(sizes), effects, rejections);
    windows = new Windows(Map.copyOf(sizes), slots::bySecAndPool);
  }

  // ---- streams

  long opened(String address) {
    windows.opened(address);
    return streams.opened(address);
  }

  /** A stream is this SEC's, which takes payloads up to a size; all that is unconfirmed is said again on it. */
  void welcomed(String address, String sec, int payloadBytes, long now) {
    streams.welcomed(address, sec);
    windows.welcomed(address, sec, now);
    this.payloadBytes.put(address, payloadBytes);
    fit();
    results.opened(sec, now);
    rejections.opened(sec);
    progress.resendAll(sec);
  }

  void ended(String address, long now) {
    String sec = streams.ended(address);
    windows.ended(address, now);
    payloadBytes.remove(address);
    if (sec != null) {
      results.closed(sec, now);
      rejections.closed(sec);
      progress.closed(sec);
      if (isGone(sec)) {
        rejections.release(this::isGone);
      }
    }
  }

  /** These SECs live, and no others. */
  void members(List<Sec> secs) {
    memberIds = new HashSet<>();
    for (Sec sec : secs) {
      memberIds.add(sec.getSecId());
      results.routes.learn(sec.getSecId(), sec.getAddress());
    }
    rejections.release(this::isGone);
  }

  private boolean isGone(String sec) {
    return memberIds != null && !memberIds.contains(sec) && !results.routes.isOpen(sec);
  }

  /** Keeps to the lowest limit for payloads: what was kept under a higher one would never fit into a frame. */
  private void fit() {
    payloadMax = PAYLOAD_BYTES;
    payloadBytes.values().forEach(bytes -> payloadMax = Math.min(payloadMax, bytes));
    for (Results.Unacked item : results.held.values()) {
      int size = item.message.getOutput().getSerializedSize();
      if (size > payloadMax) {
        results.replace(item, item.message.toBuilder().setFailure(Failures.payloadTooLarge(size, payloadMax)).build());
      }
    }
  }

  // ---- what comes from a SEC

  /** Attaches an invocation to what is here, takes it, or rejects it. */
  void receive(Invocation invocation, String sec, long now) {
    Ref ref = Ref.of(invocation.getRef());
    if (!ref.valid()) {
      effects.note(Level.ERROR, "an invocation without a name is ignored", "sec", sec, "attempt", ref);
      return;
    }
    if (attach(ref, sec, invocation.getEpoch(), now)) {
      return;
    }
    String pool = served.get(Side.of(invocation));
    Attempt attempt = new Attempt(ref, invocation, pool, sec);
    RejectionReason refusal = refusal(attempt);
    if (refusal != null) {
      rejections.add(ref, sec, refusal);
      return;
    }
    epochs.see(ref.saga(), invocation.getEpoch());
    slots.take(attempt, now);
  }

  private RejectionReason refusal(Attempt attempt) {
    if (epochs.stale(attempt.ref.saga(), attempt.epoch)) {
      return RejectionReason.REJECTION_REASON_STALE_EPOCH;
    }
    if (attempt.pool == null) {
      return RejectionReason.REJECTION_REASON_UNKNOWN_ACTION;
    }
    if (draining) {
      return RejectionReason.REJECTION_REASON_DRAINING;
    }
    return slots.refusal(attempt, EXCESS_MAX * Math.max(windows.streams(), 1));
  }

  /**
   * Whether an attempt is here already: it is then neither run again nor rejected, whatever its epoch (W20). From a SEC
   * that lost the saga it changes nothing; another one is answered from here on.
   */
  private boolean attach(Ref ref, String sec, long epoch, long now) {
    Attempt attempt = slots.attempts.get(ref);
    Results.Unacked result = results.held.get(ref);
    boolean rejected = rejections.has(ref);
    if (attempt == null && result == null && !rejected) {
      return false;
    }
    boolean owner = !epochs.stale(ref.saga(), epoch);
    if (owner) {
      epochs.see(ref.saga(), epoch);
    }
    if (rejected) {
      rejections.repeat(ref, sec, owner);
    } else if (owner && attempt != null) {
      attempt.sec = sec;
      attempt.epoch = Math.max(attempt.epoch, epoch);
      progress.assign(ref, sec);
    } else if (owner) {
      results.assign(result, sec, epoch, now);
    }
    return true;
  }

  void acknowledge(ResultAck ack, String lane, long now) {
    if (results.acknowledge(ack, lane, now)) {
      forgotten(ack);
    }
  }

  void called(String address, List<ResultAck> acks, long now) {
    results.called(address, acks, now).forEach(this::forgotten);
  }

  private void forgotten(ResultAck ack) {
    if (ack.getStatus() != ResultStatus.RESULT_STATUS_RECORDED && ack.getStatus() != ResultStatus.RESULT_STATUS_DUPLICATE) {
      effects.note(
          Level.WARN, "a result was not taken",
          "attempt", Ref.of(ack.getRef()), "status", ack.getStatus(), "why", ack.getMessage());
    }
  }

  /** Passes on a SEC's wish to stop an attempt, and says whether the attempt is held here. */
  boolean cancel(Ref ref, StopCause cause) {
    Attempt attempt = slots.attempts.get(ref);
    if (attempt == null) {
      return results.held.containsKey(ref) || rejections.has(ref);
    }
    if (attempt.state == State.QUEUED) {
      slots.reject(attempt, RejectionReason.REJECTION_REASON_CANCELLED);
    } else {
      slots.stop(attempt, cause);
    }
    return true;
  }

  /** Sagas left a SEC. What is held of them is answered to their new owners, where these are known (W70). */
  void move(String sec, List<SagaMoved> moves, long now) {
    Map<String, String> owners = new HashMap<>();
    for (SagaMoved move : moves) {
      if (!epochs.stale(move.getSagaId(), move.getEpoch())) {
        epochs.see(move.getSagaId(), move.getEpoch());
        results.routes.learn(move.getOwner().getSecId(), move.getOwner().getAddress());
        owners.put(move.getSagaId(), move.getOwner().getSecId());
      }
    }
    reassign(
        (ref, present) -> {
          String owner = owners.get(ref.saga());
          // An adoption may have come first: only the SEC that gave the saga away is wrong by now.
          return owner != null && (!owner.isEmpty() || present.equals(sec)) ? new NewOwner(owner, 0) : null;
        },
        now);
  }

  /** A SEC has taken sagas over, and what is held of them is answered there from here on (W71). */
  void adopt(String sec, List<Adoption> adoptions, long now) {
    Map<String, Long> adopted = new HashMap<>();
    for (Adoption adoption : adoptions) {
      if (!epochs.stale(adoption.getSagaId(), adoption.getEpoch())) {
        epochs.see(adoption.getSagaId(), adoption.getEpoch());
        adopted.put(adoption.getSagaId(), adoption.getEpoch());
      }
    }
    reassign((ref, present) -> adopted.containsKey(ref.saga()) ? new NewOwner(sec, adopted.get(ref.saga())) : null, now);
  }

  private void reassign(NewOwner.Finder finder, long now) {
    for (Attempt attempt : slots.attempts.values()) {
      NewOwner owner = finder.of(attempt.ref, attempt.sec);
      if (owner != null) {
        attempt.sec = owner.sec();
        attempt.epoch = Math.max(attempt.epoch, owner.epoch());
        progress.assign(attempt.ref, attempt.sec);
      }
    }
    results.reassign(finder, now);
    rejections.reassign(finder);
  }

  // ---- what comes from user code

  void finished(Ref ref, Outcome outcome, long now) {
    Attempt attempt = slots.attempts.get(ref);
    if (attempt == null || attempt.state != State.RUNNING) {
      effects.note(Level.ERROR, "an outcome of an attempt that does not run", "attempt", ref);
      return;
    }
    slots.drop(attempt);
    progress.end(ref);
    results.add(ref, attempt.sec, Failures.resultOf(attempt, outcome, payloadMax), now);
    slots.advance(attempt, outcome.failure() == null, now);
  }

  void notStarted(Ref ref, long now) {
    Attempt attempt = slots.attempts.get(ref);
    if (attempt == null || attempt.state != State.RUNNING) {
      return;
    }
    slots.drop(attempt);
    progress.end(ref);
    rejections.add(
        ref,
        attempt.sec,
        attempt.stopped != null ? RejectionReason.REJECTION_REASON_CANCELLED : RejectionReason.REJECTION_REASON_NO_CAPACITY);
    slots.advance(attempt, false, now);
  }

  /** Means nothing any more after the attempt's end. */
  void reportProgress(Ref ref, Payload details, long now) {
    Attempt attempt = slots.attempts.get(ref);
    if (attempt != null && attempt.state == State.RUNNING) {
      progress.report(ref, attempt.sec, details, now);
    }
  }

  // ---- leaving, and time

  /** Takes nothing more, hands back what has not started, and lets run what runs. Again, it can only get shorter. */
  void drain(long now, long timeout) {
    drainAt = Math.min(drainAt, after(now, Math.max(timeout, 0)));
    draining = true;
    for (Attempt attempt : List.copyOf(slots.queued.values())) {
      slots.reject(attempt, RejectionReason.REJECTION_REASON_DRAINING);
    }
  }

  long drainLeft(long now) {
    return drainAt == NEVER ? 0 : Math.max(0, drainAt - now);
  }

  void tick(long now) {
    slots.tick(now);
    results.wake(now);
    progress.wake(now);
    windows.tick(now);
    if (giveUpAt == NEVER && now >= drainAt) {
      giveUpAt = now + CANCEL_GRACE;
      for (Attempt attempt : slots.attempts.values()) {
        if (attempt.state == State.RUNNING) {
          slots.stop(attempt, StopCause.WORKER_STOPPING);
        }
      }
    }
    givenUp = givenUp || now >= giveUpAt;
  }

  long nextDeadline() {
    long deadline = Math.min(Math.min(slots.nextDeadline(), results.nextWake()), Math.min(progress.nextWake(), windows.splitAt));
    if (givenUp) {
      return deadline;
    }
    return Math.min(deadline, giveUpAt == NEVER ? drainAt : giveUpAt);
  }

  // ---- what sessions ask

  /** Whether no SEC is to send anything more at present. */
  boolean closed() {
    return draining || results.full;
  }

  /** Whether anything is left to be done: an attempt that has not ended, or a result that no SEC has. */
  boolean busy() {
    return !slots.attempts.isEmpty() || !results.held.isEmpty();
  }

  /**
   * Everything of a SEC that is held, or with "" all. What was rejected and is not confirmed stands as queued, which is
   * what it was (W33).
   */
  Map<Ref, InFlightState> report(String sec) {
    Map<Ref, InFlightState> states = new LinkedHashMap<>();
    for (Attempt attempt : slots.attempts.values()) {
      if (sec.isEmpty() || attempt.sec.equals(sec)) {
        states.put(attempt.ref, attempt.inFlightState());
      }
    }
    results.of(sec, ref -> states.put(ref, InFlightState.IN_FLIGHT_STATE_RESULT_PENDING));
    rejections.of(sec, ref -> states.put(ref, InFlightState.IN_FLIGHT_STATE_QUEUED));
    return states;
  }

  InFlightState stateOf(Ref ref) {
    Attempt attempt = slots.attempts.get(ref);
    if (attempt != null) {
      return attempt.inFlightState();
    }
    if (results.held.containsKey(ref)) {
      return InFlightState.IN_FLIGHT_STATE_RESULT_PENDING;
    }
    return rejections.has(ref) ? InFlightState.IN_FLIGHT_STATE_QUEUED : InFlightState.IN_FLIGHT_STATE_NOT_HELD;
  }

  int heldCount() {
    return slots.attempts.size() + results.held.size();
  }
}
