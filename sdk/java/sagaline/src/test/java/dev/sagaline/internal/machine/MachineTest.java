package dev.sagaline.internal.machine;

import static dev.sagaline.internal.machine.Desk.SUCCESS;
import static dev.sagaline.internal.machine.Desk.action;
import static dev.sagaline.internal.machine.Desk.undo;
import static dev.sagaline.internal.machine.Limits.SECOND;
import static org.junit.jupiter.api.Assertions.*;

import dev.sagaline.v1.Adoption;
import dev.sagaline.v1.Cancellation;
import dev.sagaline.v1.CancellationReason;
import dev.sagaline.v1.ConnectRequest;
import dev.sagaline.v1.ConnectResponse;
import dev.sagaline.v1.InFlightState;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.RejectionReason;
import dev.sagaline.v1.ResultStatus;
import dev.sagaline.v1.SagaMoved;
import dev.sagaline.v1.Sec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MachineTest {
  private static final String A = "a:1";
  private static final String B = "b:1";

  private static Desk open() {
    Desk desk = new Desk(A);
    desk.welcome(A, "a", "a");
    desk.pull(A);
    return desk;
  }

  @Test
  void helloListsWhatIsHeldAndGrantsWhatIsFree() {
    Desk desk = new Desk(A);
    var hello = desk.welcome(A, "a", "a");
    assertEquals(1, hello.getStreamEpoch());
    assertTrue(hello.getInFlight().getComplete());
    assertEquals(Desk.SLOTS, hello.getCapacity().getMaxInFlightByPoolOrThrow(""));
    desk.invoke(A, 1, action("s", 1));
    desk.end(A, "broken");
    desk.pass(SECOND);
    hello = desk.welcome(A, "a", "a");
    assertEquals(2, hello.getStreamEpoch());
    assertEquals(InFlightState.IN_FLIGHT_STATE_RUNNING, hello.getInFlight().getEntries(0).getState());
  }

  @Test
  void anAttemptThatComesAgainRunsOnceAndItsResultIsKeptUntilItIsRecorded() {
    Desk desk = open();
    Ref ref = action("s", 1);
    desk.invoke(A, 1, ref);
    desk.invoke(A, 1, ref);
    desk.finish(ref, SUCCESS);
    assertEquals(1, desk.pull(A).getResultsCount());
    desk.acknowledge(A, ref, ResultStatus.RESULT_STATUS_RETRY);
    assertEquals(0, desk.pull(A).getResultsCount());
    desk.pass(2 * SECOND);
    assertEquals(1, desk.pull(A).getResultsCount());
    desk.invoke(A, 1, ref);
    assertEquals(1, desk.pull(A).getResultsCount());
    desk.acknowledge(A, ref, ResultStatus.RESULT_STATUS_RECORDED);
    desk.pass(60 * SECOND);
    assertEquals(Map.of(ref, 1), desk.runs);
    assertEquals(0, desk.fleet.leftBehind().unacknowledged());
  }

  @Test
  void aLowerEpochIsRefused() {
    Desk desk = open();
    desk.invoke(A, 5, action("s", 1));
    desk.invoke(A, 4, undo("s", 1));
    assertEquals(RejectionReason.REJECTION_REASON_STALE_EPOCH, desk.pull(A).getRejections(0).getReason());
    assertFalse(desk.runs.containsKey(undo("s", 1)));
  }

  @Test
  void anUndoWaitsForTheActionOfItsNode() {
    Desk desk = open();
    desk.invoke(A, 1, action("s", 1));
    desk.invoke(A, 1, undo("s", 1));
    assertEquals(StopCause.SUPERSEDED, desk.stops.get(action("s", 1)));
    assertFalse(desk.runs.containsKey(undo("s", 1)));
    desk.finish(action("s", 1), SUCCESS);
    assertEquals(1, desk.runs.get(undo("s", 1)));
  }

  @Test
  void anOrderComesAfterAdvice() {
    Desk desk = open();
    desk.invoke(A, 1, action("s", 1));
    for (CancellationReason reason :
        List.of(
            CancellationReason.CANCELLATION_REASON_SAGA_UNWINDING,
            CancellationReason.CANCELLATION_REASON_TIMED_OUT,
            CancellationReason.CANCELLATION_REASON_SUPERSEDED)) {
      var wish = Cancellation.newBuilder().setRef(action("s", 1).message()).setReason(reason);
      desk.send(A, ConnectResponse.newBuilder().addCancellations(wish));
    }
    assertEquals(StopCause.TIMED_OUT, desk.stops.get(action("s", 1)));
  }

  @Test
  void anOutputThatIsTooLargeIsHeldForAnOperator() {
    Desk desk = open();
    desk.invoke(A, 1, action("s", 1));
    desk.finish(action("s", 1), Outcome.succeeded(Payload.newBuilder().setJson("x".repeat(300_000)).build()));
    assertEquals("sagaline.PayloadTooLarge", desk.pull(A).getResults(0).getFailure().getType());
  }

  @Test
  void drainingHandsBackWhatWaitsAndLeavesWhenAllIsSaid() {
    Desk desk = open();
    desk.invoke(A, 1, action("s1", 1), action("s2", 1), action("s3", 1), action("s4", 1));
    desk.act(desk.fleet.drain(desk.now, 10 * SECOND));
    var frame = desk.pull(A);
    assertTrue(frame.hasDrain());
    assertEquals(RejectionReason.REJECTION_REASON_DRAINING, frame.getRejections(0).getReason());
    desk.send(A, ConnectResponse.newBuilder().setDrained(true));
    for (Ref ref : List.copyOf(desk.running.values())) {
      desk.finish(ref, SUCCESS);
      desk.pull(A);
      assertFalse(desk.fleet.closed());
      desk.acknowledge(A, ref, ResultStatus.RESULT_STATUS_RECORDED);
    }
    assertTrue(desk.fleet.closed());
    assertNull(desk.fleet.error());
  }

  @Test
  void aResultFollowsItsSaga() {
    Desk desk = new Desk(A);
    desk.welcome(A, "a", "a", "b");
    desk.welcome(B, "b", "a", "b");
    desk.pull(A);
    desk.pull(B);
    desk.pull(A);
    desk.invoke(A, 1, action("s", 1));
    var moved = SagaMoved.newBuilder().setSagaId("s").setEpoch(2).setOwner(Sec.newBuilder().setSecId("b").setAddress(B));
    desk.send(A, ConnectResponse.newBuilder().addSagaMoves(moved));
    desk.finish(action("s", 1), SUCCESS);
    assertEquals(0, desk.pull(A).getResultsCount());
    assertEquals(1, desk.pull(B).getResultsCount());
  }

  @Test
  void aResultOfASecWithoutAStreamIsToldByACall() {
    Desk desk = new Desk(A);
    desk.welcome(A, "a", "a");
    desk.pull(A);
    desk.invoke(A, 1, action("s", 1));
    var moved = SagaMoved.newBuilder().setSagaId("s").setEpoch(2).setOwner(Sec.newBuilder().setSecId("z").setAddress("z:1"));
    desk.send(A, ConnectResponse.newBuilder().addSagaMoves(moved));
    desk.finish(action("s", 1), SUCCESS);
    desk.pass(3 * SECOND);
    assertEquals("z:1", desk.calls.get(0).address());
    assertEquals(1, desk.calls.get(0).request().getResultsCount());
  }

  @Test
  void aSilentStreamIsEndedAndOpenedAgain() {
    Desk desk = open();
    desk.pass(5 * SECOND);
    assertTrue(desk.pull(A).hasHeartbeat());
    desk.pass(15 * SECOND);
    assertTrue(desk.pull(A).hasHello());
  }

  /**
   * Streams break, sagas move, frames come twice; then everything comes to rest: every attempt that ran was answered by a
   * result, ran once, and nothing is left.
   */
  @ParameterizedTest
  @ValueSource(ints = {0, 100, 200, 300, 400})
  void randomSchedules(int first) {
    for (int seed = first; seed < first + 100; seed++) {
      new Schedule(seed).run();
    }
  }

  private static final class Schedule {
    final Random random;
    final Desk desk = new Desk(A);
    final Map<String, String> owner = new HashMap<>();
    final Map<String, Long> epoch = new HashMap<>();
    final Map<String, Integer> attempts = new HashMap<>();
    final Set<Ref> results = new HashSet<>();
    final Set<Ref> rejected = new HashSet<>();

    Schedule(int seed) {
      random = new Random(seed);
    }

    void run() {
      for (int i = 0; i < 150; i++) {
        step();
        failCalls();
      }
      // What was read and never answered is said again on a new stream.
      List.copyOf(desk.open).forEach(address -> desk.end(address, "broken"));
      for (int i = 0; i < 60; i++) {
        List.copyOf(desk.running.values()).forEach(ref -> desk.finish(ref, SUCCESS));
        for (String address : List.copyOf(desk.open)) {
          greet(address);
          read(address, true);
        }
        failCalls();
        desk.pass(SECOND);
      }
      assertEquals(0, desk.fleet.leftBehind().unacknowledged());
      assertTrue(desk.fleet.leftBehind().stillRun().isEmpty());
      desk.runs.forEach((ref, count) -> assertEquals(1, count, ref::toString));
      assertEquals(desk.runs.keySet(), results);
      rejected.forEach(ref -> assertFalse(desk.runs.containsKey(ref), () -> ref + " was rejected and ran"));
    }

    private void failCalls() {
      while (!desk.calls.isEmpty()) {
        desk.act(desk.fleet.called(desk.calls.remove(0).address(), null, desk.now));
      }
    }

    private boolean greet(String address) {
      if (desk.fleet.session(address).state == Session.State.GREETING) {
        desk.welcome(address, address.substring(0, 1), "a", "b");
        return true;
      }
      return false;
    }

    private void step() {
      List<String> up = new ArrayList<>(desk.open);
      if (up.isEmpty()) {
        desk.pass(SECOND);
        return;
      }
      up.sort(null);
      String address = up.get(random.nextInt(up.size()));
      if (greet(address)) {
        return;
      }
      switch (random.nextInt(9)) {
        case 0, 1, 2 -> invoke(address);
        case 3, 4 -> desk.running.values().stream().findFirst().ifPresent(ref -> desk.finish(ref, SUCCESS));
        case 5 -> read(address, random.nextBoolean());
        case 6 -> adopt(address);
        case 7 -> desk.end(address, "broken");
        default -> desk.pass(random.nextInt(3000) * Limits.MILLISECOND);
      }
    }

    private void invoke(String address) {
      String saga = "s" + random.nextInt(6);
      owner.putIfAbsent(saga, address);
      epoch.putIfAbsent(saga, 1L);
      if (owner.get(saga).equals(address)) {
        boolean again = attempts.containsKey(saga) && random.nextInt(3) == 0;
        int attempt = again ? attempts.get(saga) : attempts.merge(saga, 1, Integer::sum);
        Ref ref = action(saga, attempt);
        if (!results.contains(ref) && !rejected.contains(ref)) {
          desk.invoke(address, epoch.get(saga), ref);
        }
      }
    }

    private void adopt(String address) {
      String saga = "s" + random.nextInt(6);
      if (owner.containsKey(saga) && !owner.get(saga).equals(address)) {
        owner.put(saga, address);
        long next = epoch.merge(saga, 1L, Long::sum);
        var adoption = Adoption.newBuilder().setSagaId(saga).setEpoch(next);
        adoption.addRefs(action(saga, attempts.getOrDefault(saga, 1)).message());
        desk.send(address, ConnectResponse.newBuilder().addAdoptions(adoption));
      }
    }

    /** A SEC reads what there is, and, with answer, says what became of it. */
    private void read(String address, boolean answer) {
      ConnectRequest frame = desk.pull(address);
      if (!answer) {
        return;
      }
      var response = ConnectResponse.newBuilder();
      frame.getRejectionsList().forEach(rejection -> rejected.add(Ref.of(rejection.getRef())));
      frame
          .getResultsList()
          .forEach(
              result -> {
                Ref ref = Ref.of(result.getRef());
                boolean mine = owner.get(ref.saga()).equals(address);
                if (mine) {
                  results.add(ref);
                }
                String to = owner.get(ref.saga());
                response
                    .addResultAcksBuilder()
                    .setRef(result.getRef())
                    .setStatus(mine ? ResultStatus.RESULT_STATUS_RECORDED : ResultStatus.RESULT_STATUS_NOT_OWNER)
                    .setOwner(Sec.newBuilder().setSecId(to.substring(0, 1)).setAddress(to));
              });
      if (frame.hasHeartbeat()) {
        response.setHeartbeatNonce(frame.getHeartbeat().getNonce());
      }
      desk.send(address, response);
    }
  }
}
