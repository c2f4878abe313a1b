package dev.sagaline.internal.machine;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sagaline.v1.ConnectRequest;
import dev.sagaline.v1.ConnectResponse;
import dev.sagaline.v1.Hello;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.ResultAck;
import dev.sagaline.v1.ResultStatus;
import dev.sagaline.v1.Sec;
import dev.sagaline.v1.SecSet;
import dev.sagaline.v1.Welcome;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A shell for tests: it does what effects ask for, and keeps what user code and SECs would see. */
final class Desk {
  static final Outcome SUCCESS = Outcome.succeeded(Payload.newBuilder().setJson("1").build());
  static final int SLOTS = 3;

  long now = 1_000 * Limits.SECOND;
  final Fleet fleet;
  final Set<String> open = new HashSet<>();
  final Map<Ref, Integer> runs = new HashMap<>();
  final Map<Ref.Place, Ref> running = new LinkedHashMap<>();
  final Map<Ref, StopCause> stops = new HashMap<>();
  final List<Effect.Call> calls = new ArrayList<>();
  final Map<String, Integer> granted = new HashMap<>();
  private final Map<String, Long> sequence = new HashMap<>();

  Desk(String... bootstrap) {
    Map<Side, String> served = Map.of(new Side("act", "1", Ref.ACTION), "", new Side("act", "1", Ref.UNDO), "");
    Hello hello = Hello.newBuilder().setWorkerId("w").build();
    fleet = new Fleet(hello, new Holdings(served, Map.of("", SLOTS)), List.of(bootstrap));
    act(fleet.start(now));
  }

  void act(List<Effect> effects) {
    for (Effect effect : effects) {
      if (effect instanceof Effect.Start start) {
        Ref ref = start.attempt().ref;
        runs.merge(ref, 1, Integer::sum);
        assertNull(running.put(ref.place(), ref), () -> ref + " starts while another attempt of its node runs");
        assertTrue(running.size() <= SLOTS, "more run than there are slots");
      } else if (effect instanceof Effect.Stop stop) {
        stops.put(stop.ref(), stop.cause());
      } else if (effect instanceof Effect.Connect connect) {
        assertTrue(open.add(connect.address()), "a second stream to " + connect.address());
        sequence.put(connect.address(), 0L);
        act(fleet.opened(fleet.session(connect.address()), now));
      } else if (effect instanceof Effect.EndStream end) {
        if (open.contains(end.address())) {
          end(end.address(), end.why());
        }
      } else if (effect instanceof Effect.Call call) {
        calls.add(call);
      }
    }
  }

  /** Takes all frames that are to be written, as one. */
  ConnectRequest pull(String address) {
    var all = ConnectRequest.newBuilder();
    while (open.contains(address)) {
      ConnectRequest frame = fleet.session(address).nextFrame(now);
      if (frame == null) {
        break;
      }
      assertTrue(frame.getSerializedSize() <= Limits.FRAME_BYTES);
      var capacity = frame.hasHello() ? frame.getHello().getCapacity() : frame.getCapacity();
      if (frame.hasHello() || frame.hasCapacity()) {
        granted.put(address, capacity.getMaxInFlightByPoolOrDefault("", 0));
        int sum = granted.values().stream().mapToInt(Integer::intValue).sum();
        assertTrue(sum <= SLOTS, () -> sum + " granted of " + SLOTS + " slots");
      }
      all.mergeFrom(frame);
      act(fleet.written(now));
    }
    return all.build();
  }

  /** Lets a SEC say something, with the next sequence. */
  void send(String address, ConnectResponse.Builder frame) {
    assertNotNull(fleet.session(address));
    frame.setSequence(sequence.merge(address, 1L, Long::sum));
    act(fleet.received(fleet.session(address), frame.build(), now));
  }

  Hello welcome(String address, String sec, String... secs) {
    Hello hello = pull(address).getHello();
    var set = SecSet.newBuilder().setRevision(1);
    for (String other : secs) {
      set.addSecs(Sec.newBuilder().setSecId(other).setAddress(other + ":1"));
    }
    send(address, ConnectResponse.newBuilder().setWelcome(Welcome.newBuilder().setProtocolVersion(1).setSecId(sec).setSecs(set)));
    return hello;
  }

  void end(String address, String why) {
    open.remove(address);
    granted.remove(address);
    act(fleet.ended(fleet.session(address), now, why, 0.5));
  }

  void pass(long time) {
    long until = now + time;
    while (true) {
      long at = fleet.nextDeadline();
      if (at > until) {
        now = until;
        return;
      }
      now = at > now ? at : now + Limits.MILLISECOND;
      act(fleet.tick(now, 0));
    }
  }

  void finish(Ref ref, Outcome outcome) {
    assertFalse(running.remove(ref.place()) == null);
    act(fleet.finished(ref, outcome, now));
  }

  void invoke(String address, long epoch, Ref... refs) {
    var frame = ConnectResponse.newBuilder();
    for (Ref ref : refs) {
      frame.addInvocations(
          Invocation.newBuilder().setRef(ref.message()).setAction("act").setVersion("1").setEpoch(epoch));
    }
    send(address, frame);
  }

  void acknowledge(String address, Ref ref, ResultStatus status) {
    send(address, ConnectResponse.newBuilder().addResultAcks(ResultAck.newBuilder().setRef(ref.message()).setStatus(status)));
  }

  static Ref action(String saga, int attempt) {
    return new Ref(saga, "node", Ref.ACTION, attempt);
  }

  static Ref undo(String saga, int attempt) {
    return new Ref(saga, "node", Ref.UNDO, attempt);
  }
}
