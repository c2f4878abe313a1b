package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Limits.*;

import dev.sagaline.v1.Capacity;
import dev.sagaline.v1.ConnectRequest;
import dev.sagaline.v1.ConnectResponse;
import dev.sagaline.v1.Drain;
import dev.sagaline.v1.GoAway;
import dev.sagaline.v1.GoAwayReason;
import dev.sagaline.v1.Heartbeat;
import dev.sagaline.v1.Hello;
import dev.sagaline.v1.InFlightReport;
import dev.sagaline.v1.InvocationRef;
import dev.sagaline.v1.Rejection;
import dev.sagaline.v1.Welcome;
import dev.sagaline.v1.Progress;
import java.util.List;
import java.util.Map;
import org.slf4j.event.Level;

/**
 * This worker with one address, and with the SEC there: its streams one after another, frame by frame. Which SEC answers is
 * known from its welcome, and may be another one each time.
 */
public final class Session {
  enum State {
    /** No stream; the next one is due. */
    IDLE,
    /** A stream is open for our hello and has not brought the welcome. */
    GREETING,
    /** Everything may flow. */
    OPEN,
    /** We decided that the stream is over; what it still brings is not looked at. */
    ENDING,
    /** Drained, all said and confirmed; our half is closed. */
    CLOSING,
    /** Over for good. */
    CLOSED
  }

  private enum Event {
    OPENED,
    WELCOMED,
    GIVEN_UP,
    ALL_SAID,
    ENDED,
    CLOSED
  }

  /** What README section 3 draws. A move that is not in it is a fault of the shell. */
  private static final Map<State, Map<Event, State>> MOVES =
      Map.of(
          State.IDLE, Map.of(Event.OPENED, State.GREETING, Event.CLOSED, State.CLOSED),
          State.GREETING, Map.of(Event.WELCOMED, State.OPEN, Event.GIVEN_UP, State.ENDING, Event.ENDED, State.IDLE),
          State.OPEN, Map.of(Event.GIVEN_UP, State.ENDING, Event.ALL_SAID, State.CLOSING, Event.ENDED, State.IDLE),
          State.ENDING, Map.of(Event.ENDED, State.IDLE),
          State.CLOSING, Map.of(Event.ENDED, State.CLOSED),
          State.CLOSED, Map.of());

  public final String address;
  /** Expected there, or welcomed us; "" while nobody knows who will answer. */
  String sec = "";
  State state = State.IDLE;

  private final Hello hello;
  private final Holdings holdings;
  private final Effects effects;
  private final Pulse pulse;
  private final Reports reports;
  private Terms terms = Terms.DEFAULT;
  private int failures;
  private String error;

  // Of the stream that is open:
  private long streamEpoch;
  private long sequence;
  private long welcomedAt = NEVER;
  private long deadline = NEVER;
  private boolean helloDue;
  private boolean drainSaid;
  private boolean drained;
  private boolean brokeRules;

  Session(String address, Hello hello, Holdings holdings) {
    this.address = address;
    this.hello = hello;
    this.holdings = holdings;
    effects = holdings.effects;
    pulse = new Pulse(holdings.streams);
    reports = new Reports(holdings);
  }

  // ---- events

  void opened(long now) {
    move(Event.OPENED);
    streamEpoch = holdings.opened(address);
    sequence = 0;
    welcomedAt = NEVER;
    deadline = now + HANDSHAKE_TIME;
    helloDue = true;
    brokeRules = false;
    drainSaid = false;
    drained = false;
    reports.clear();
  }

  void received(ConnectResponse frame, long now) {
    if (state == State.ENDING) {
      return;
    }
    if (state == State.IDLE || state == State.CLOSED) {
      throw new IllegalStateException("a frame in state " + state);
    }
    String problem = problem(frame);
    if (problem != null) {
      brokeRules = true;
      effects.note(Level.ERROR, "the SEC broke the protocol", "sec", sec, "address", address, "problem", problem);
      giveUp("protocol error: " + problem);
      return;
    }
    sequence = frame.getSequence();
    pulse.heardAt = now;
    if (frame.hasWelcome()) {
      welcome(frame.getWelcome(), now);
    }
    process(frame, now);
  }

  /** The draw is random, from 0 to 1. */
  void ended(long now, String why, double draw) {
    boolean steady = welcomedAt != NEVER && now - welcomedAt >= STEADY_TIME;
    move(Event.ENDED);
    holdings.ended(address, now);
    deadline = NEVER;
    failures = steady && !brokeRules ? 0 : failures + 1;
    effects.note(level(), "a stream ended", "sec", sec, "address", address, "why", why, "failures", failures);
    if (state == State.CLOSED) {
      effects.add(new Effect.Closed(address, null));
    } else if (error != null) {
      close();
    } else {
      conclude(now);
    }
    if (state == State.IDLE) {
      reconnect(now, draw);
    }
  }

  void tick(long now, long lag) {
    pulse.stoodStill(lag);
    if (state == State.OPEN) {
      String dead = pulse.tick(now);
      if (dead != null) {
        giveUp(dead);
      }
    } else if (now >= deadline) {
      giveUp(welcomedAt == NEVER ? "no welcome in time" : "no end of the stream in time");
    }
    conclude(now);
  }

  long nextDeadline() {
    return state == State.OPEN ? pulse.nextDeadline() : deadline;
  }

  // ---- frames

  /** Whether nextFrame gives one. */
  public boolean hasFrame() {
    return switch (state) {
      case GREETING -> helloDue;
      case OPEN -> hasAnswers()
          || pulse.isDue
          || (holdings.draining && !drainSaid)
          || reports.pending()
          || holdings.progress.hasQueued(sec)
          || holdings.windows.hasNews(address, holdings.closed());
      case CLOSING -> hasAnswers();
      default -> false;
    };
  }

  private boolean hasAnswers() {
    return holdings.results.hasQueued(sec) || holdings.rejections.hasQueued(sec);
  }

  /** The next frame to write, with all that is queued and fits; null while there is nothing to say. */
  public ConnectRequest nextFrame(long now) {
    if (!hasFrame()) {
      return null;
    }
    var frame = ConnectRequest.newBuilder().setAckSequence(sequence);
    int budget = terms.frameBytes() - FRAME_RESERVE;
    if (state == State.GREETING) {
      addHello(frame, budget);
      return frame.build();
    }
    if (state == State.OPEN) {
      budget -= addFacts(frame, budget, now);
    }
    addAnswers(frame, budget, now);
    return frame.build();
  }

  private void addHello(ConnectRequest.Builder frame, int budget) {
    helloDue = false;
    var said = hello.toBuilder().setStreamEpoch(streamEpoch).setCapacity(capacity());
    reports.tellAll(sec);
    said.setInFlight(reports.take(budget - said.build().getSerializedSize()));
    frame.setHello(said);
  }

  /** What the session itself has to say. All but reports is small and of fixed size; gives the bytes of the report. */
  private int addFacts(ConnectRequest.Builder frame, int budget, long now) {
    if (pulse.isDue) {
      Heartbeat beat = pulse.beat(now, holdings.heldCount(), holdings.results.bytes);
      frame.setHeartbeat(beat);
    }
    if (holdings.windows.hasNews(address, holdings.closed())) {
      frame.setCapacity(capacity());
    }
    if (holdings.draining && !drainSaid) {
      drainSaid = true;
      frame.setDrain(Drain.newBuilder().setTimeout(durationOf(holdings.drainLeft(now))).setReason("the worker stops"));
    }
    if (!reports.pending()) {
      return 0;
    }
    InFlightReport report = reports.take(budget);
    frame.setInFlight(report);
    return report.getSerializedSize();
  }

  private void addAnswers(ConnectRequest.Builder frame, int budget, long now) {
    List<Progress> progress = holdings.progress.take(sec, budget, now);
    frame.addAllProgress(progress);
    for (Progress item : progress) {
      budget -= item.getSerializedSize() + ITEM_OVERHEAD;
    }
    if (holdings.rejections.hasQueued(sec)) {
      long nonce = frame.hasHeartbeat() ? frame.getHeartbeat().getNonce() : holdings.streams.nonce + 1;
      List<Rejection> rejections = holdings.rejections.take(sec, budget, nonce);
      frame.addAllRejections(rejections);
      for (Rejection item : rejections) {
        budget -= item.getSerializedSize() + ITEM_OVERHEAD;
      }
      if (holdings.rejections.size() >= REJECTIONS_HURRY) {
        pulse.hurry(now);
      }
    }
    frame.addAllResults(holdings.results.take(sec, budget, UNACKED_RESULTS_MAX));
  }

  private Capacity capacity() {
    return Capacity.newBuilder()
        .putAllMaxInFlightByPool(holdings.windows.tell(address, holdings.closed()))
        .setMaxInFlightBytes(OUTSTANDING_BYTES_MAX)
        .build();
  }

  /** How a frame breaks the protocol so that nothing on the stream can be trusted any more (W12); null: it does not. */
  private String problem(ConnectResponse frame) {
    if (frame.getSequence() != sequence + 1) {
      return "sequence " + frame.getSequence() + " after " + sequence;
    }
    if (frame.hasWelcome() != (state == State.GREETING)) {
      return frame.hasWelcome() ? "a second welcome" : "the first frame has no welcome";
    }
    int version = frame.getWelcome().getProtocolVersion();
    if (frame.hasWelcome() && (version < 1 || version > PROTOCOL_VERSION)) {
      return "protocol version " + version + ", while " + PROTOCOL_VERSION + " was offered";
    }
    return null;
  }

  private void welcome(Welcome welcome, long now) {
    move(Event.WELCOMED);
    welcomedAt = now;
    deadline = NEVER;
    terms = Terms.of(welcome);
    pulse.start(now, terms);
    sec = welcome.getSecId().isEmpty() ? address : welcome.getSecId();
    holdings.welcomed(address, sec, terms.payloadBytes(), now);
    effects.add(new Effect.Welcomed(address, sec, welcome.getRefusedActionsMap()));
    if (welcome.hasSecs()) {
      effects.add(new Effect.Members(welcome.getSecs()));
    }
  }

  /** Takes the parts of a frame in the order that W11 names. */
  private void process(ConnectResponse frame, long now) {
    frame.getResultAcksList().forEach(ack -> holdings.acknowledge(ack, sec, now));
    if (frame.getSagaMovesCount() > 0) {
      holdings.move(sec, frame.getSagaMovesList(), now);
    }
    if (frame.getAdoptionsCount() > 0) {
      holdings.adopt(sec, frame.getAdoptionsList(), now);
      frame.getAdoptionsList().forEach(adoption -> reportAbout(adoption.getRefsList()));
    }
    frame.getInvocationsList().forEach(invocation -> holdings.receive(invocation, sec, now));
    frame
        .getCancellationsList()
        .forEach(
            cancellation -> {
              Ref ref = Ref.of(cancellation.getRef());
              if (!holdings.cancel(ref, StopCause.of(cancellation.getReason()))) {
                reports.about(ref);
              }
            });
    if (frame.hasReconcile()) {
      if (frame.getReconcile().getRefsCount() > 0) {
        reportAbout(frame.getReconcile().getRefsList());
      } else {
        reports.tellAll(sec);
      }
    }
    if (frame.getHeartbeatNonce() > 0) {
      pulse.echoed(frame.getHeartbeatNonce());
      holdings.rejections.confirm(sec, frame.getHeartbeatNonce());
    }
    drained = drained || frame.getDrained();
    if (frame.getDemandsCount() > 0) {
      holdings.windows.demand(address, frame.getDemandsList(), now);
    }
    if (frame.hasSecs()) {
      effects.add(new Effect.Members(frame.getSecs()));
    }
    if (frame.hasGoAway()) {
      goAway(frame.getGoAway());
    }
  }

  private void reportAbout(List<InvocationRef> refs) {
    refs.forEach(ref -> reports.about(Ref.of(ref)));
  }

  private void goAway(GoAway goAway) {
    boolean replaced = goAway.getReason() == GoAwayReason.GO_AWAY_REASON_REPLACED;
    boolean accused = goAway.getReason() == GoAwayReason.GO_AWAY_REASON_PROTOCOL_ERROR;
    brokeRules = brokeRules || accused;
    if (replaced && !holdings.streams.replacedByUs(address)) {
      // So another process has: a copy of this one, with its id. Two would fight for ever.
      error = "another process uses the worker id " + hello.getWorkerId();
    }
    effects.note(
        replaced || accused ? Level.ERROR : Level.INFO, "the SEC ends the stream",
        "sec", sec, "address", address, "reason", goAway.getReason(), "message", goAway.getMessage());
    if (replaced) {
      giveUp("replaced");
    }
  }

  // ---- state

  private void move(Event event) {
    State target = MOVES.get(state).get(event);
    if (target == null) {
      throw new IllegalStateException(event + " in state " + state);
    }
    state = target;
  }

  /** Lets the stream end, if there is one. */
  void giveUp(String why) {
    if (state == State.GREETING || state == State.OPEN) {
      move(Event.GIVEN_UP);
    }
    deadline = NEVER;
    effects.add(new Effect.EndStream(address, why, false));
  }

  /**
   * Ends, while the worker leaves, what has nothing left to say, or no time left to say it. As long as anything is held,
   * from whichever SEC, each session stays: sagas move, and results with them.
   */
  void conclude(long now) {
    if (!holdings.draining) {
      return;
    }
    boolean nothingLeft = !holdings.busy() && !holdings.rejections.owed(sec);
    switch (state) {
      case IDLE -> {
        if (holdings.givenUp || nothingLeft) {
          close();
        }
      }
      case GREETING -> {
        if (holdings.givenUp || (nothingLeft && holdings.windows.grantsNothing(address))) {
          giveUp("the worker leaves");
        }
      }
      case OPEN -> {
        boolean allIsSaid = drained && !holdings.busy() && !hasFrame();
        if (allIsSaid || holdings.givenUp) {
          move(Event.ALL_SAID);
          deadline = now + HALF_CLOSE_TIME;
          effects.add(new Effect.EndStream(address, allIsSaid ? "drained" : "the drain's time is over", true));
        }
      }
      default -> {}
    }
  }

  /** There will be no stream any more; only while there is none. */
  void close() {
    move(Event.CLOSED);
    effects.add(new Effect.Closed(address, error));
  }

  /** At once after a stream that worked; else with full jitter under a ceiling that doubles, for ever (W56). */
  private void reconnect(long now, double draw) {
    long delay = 0;
    if (failures > 0) {
      long ceiling = Math.min(RECONNECT_MAX, RECONNECT_MIN << Math.min(failures - 1, 16));
      delay = (long) (draw * ceiling);
    }
    boolean fresh = failures > 0 && failures % FRESH_CHANNEL == 0;
    effects.add(new Effect.Reconnect(address, now + delay, fresh, failures));
  }

  /** Failures that go on are told of ever more rarely. */
  private Level level() {
    if (holdings.draining) {
      return Level.INFO;
    }
    return (failures & (failures - 1)) != 0 ? Level.DEBUG : Level.WARN;
  }
}
