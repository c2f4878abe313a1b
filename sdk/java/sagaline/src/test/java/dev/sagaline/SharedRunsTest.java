package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import dev.sagaline.FakeSagas.Breaks;
import dev.sagaline.v1.BatchError;
import dev.sagaline.v1.Failure;
import dev.sagaline.v1.FieldProblem;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.SagaEnd;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Concurrent runs of one client share a stream, and each hears what a call of its own would tell. */
class SharedRunsTest {
  private static final int MANY = 200;
  private static final int SOME = 20;
  private static final Graph<Integer, Integer> TRIP = trip();

  private FakeSagas sagas;
  private Client client;

  private static Graph<Integer, Integer> trip() {
    var g = Graph.builder("trip", Integer.class);
    return g.build(g.add("go", Action.declare("go", Integer.class, Integer.class), g.params(), With.noUndo()));
  }

  @BeforeEach
  void serve() throws Exception {
    sagas = new FakeSagas();
    client = Client.connect(sagas.address());
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    sagas.close();
  }

  private static <T> T get(CompletableFuture<T> future) throws Exception {
    return future.get(60, TimeUnit.SECONDS);
  }

  private static <X extends Throwable> X fails(Class<X> type, CompletableFuture<?> future) {
    return assertInstanceOf(type, assertThrows(ExecutionException.class, () -> get(future)).getCause());
  }

  private static NewSaga<Integer> numbered(String prefix, int number) {
    return NewSaga.of(TRIP, number).id(prefix + number);
  }

  private static List<CompletableFuture<Integer>> run(Client client, String prefix, int count) {
    return IntStream.range(0, count).mapToObj(number -> client.run(numbered(prefix, number))).toList();
  }

  private static void allSucceed(List<CompletableFuture<Integer>> runs) throws Exception {
    for (int number = 0; number < runs.size(); number++) {
      assertEquals(number, get(runs.get(number)));
    }
  }

  /** Runs that all share a stream: as many as have calls of their own are under way, and stay so until the release. */
  private List<CompletableFuture<Integer>> runShared(String prefix, int count) throws Exception {
    sagas.holdsAlone = true;
    run(client, prefix + "alone-", SharedRuns.ALONE_MAX);
    sagas.awaitAlone(SharedRuns.ALONE_MAX);
    return run(client, prefix, count);
  }

  private static Calls calls(String address, Duration patience) {
    return new Calls(address, InsecureChannelCredentials.create(), patience);
  }

  private static SagaSpec spec(String id) {
    return numbered(id, 7).message(JsonCodec.DEFAULT);
  }

  // ---- who shares

  @Test
  void aLoneRunHasACallOfItsOwn() throws Exception {
    for (int number = 0; number < SOME; number++) {
      assertEquals(number, get(client.run(numbered("s", number))));
    }
    assertEquals(SOME, sagas.alone());
    assertEquals(0, sagas.streams());
  }

  @Test
  void manyRunsShareOneStream() throws Exception {
    sagas.holdsAlone = true;
    var runs = run(client, "s", MANY);
    allSucceedFrom(SharedRuns.ALONE_MAX, runs);
    assertEquals(1, sagas.streams());
    sagas.release();
    allSucceed(runs);
    assertEquals(SharedRuns.ALONE_MAX, sagas.alone());
    assertEquals(MANY, sagas.created.size());
    assertEquals(7, get(client.run(numbered("lone", 7))));
    assertEquals(SharedRuns.ALONE_MAX + 1, sagas.alone(), "the stream is for many");
    sagas.holdsAlone = true;
    var more = run(client, "t", MANY);
    allSucceedFrom(SharedRuns.ALONE_MAX, more);
    assertEquals(1, sagas.streams(), "it is still open");
    assertEquals(1, sagas.frames.stream().mapToInt(RunSagasRequest::getGraphsCount).sum(), "a graph is sent once");
    assertTrue(sagas.frames.stream().allMatch(RunSagasRequest::getOrNeedsOperator));
    sagas.release();
    allSucceed(more);
  }

  private static void allSucceedFrom(int first, List<CompletableFuture<Integer>> runs) throws Exception {
    for (int number = first; number < runs.size(); number++) {
      assertEquals(number, get(runs.get(number)));
    }
  }

  @Test
  void aRunThatIsAskedForTwiceAtOnceEndsTwice() throws Exception {
    var runs = new ArrayList<>(runShared("s", SOME));
    var twice = client.run(numbered("s", 3));
    allSucceed(runs);
    sagas.release();
    assertEquals(3, get(twice));
  }

  @Test
  void whoWaitsInsideWhatARunIsFollowedByHindersNobody() throws Exception {
    List<CompletableFuture<Integer>> nested = new ArrayList<>();
    for (CompletableFuture<Integer> run : runShared("s", SOME)) {
      nested.add(run.thenApply(number -> client.run(numbered("n", number)).join()));
    }
    allSucceed(nested);
    sagas.release();
  }

  // ---- what they hear

  private static SagaEnd endOf(SagaSpec saga) {
    var failure = Failure.newBuilder().setType("NoRoom").setMessage("full");
    return switch (Integer.parseInt(saga.getParams().getJson())) {
      case 1 -> SagaEnd.newBuilder().setState(SagaState.SAGA_STATE_UNWOUND).setFailure(failure).setFailedNode("go").build();
      case 2 ->
          SagaEnd.newBuilder()
              .setState(SagaState.SAGA_STATE_STUCK)
              .setNeedsOperator(true)
              .setFailure(failure)
              .setFailedNode("go")
              .build();
      case 3 ->
          SagaEnd.newBuilder()
              .setError(BatchError.newBuilder().setCode(Code.NOT_FOUND_VALUE).setReason("SAGA_NOT_FOUND").setMessage("gone"))
              .build();
      default -> FakeSagas.succeeded(saga);
    };
  }

  @Test
  void eachHearsWhatBecameOfItsOwnSaga() throws Exception {
    sagas.ending = SharedRunsTest::endOf;
    var runs = runShared("s", SOME);
    allSucceedFrom(4, runs);
    assertEquals(0, get(runs.get(0)));
    var unwound = fails(UnwoundException.class, runs.get(1));
    assertEquals("NoRoom", unwound.failure().orElseThrow().type());
    assertEquals("s1", unwound.saga().getSagaId());
    assertEquals("trip", unwound.saga().getGraphName());
    assertEquals("go", unwound.saga().getFailedNode());
    var stuck = fails(NeedsOperatorException.class, runs.get(2));
    assertEquals(SagaState.SAGA_STATE_STUCK, stuck.saga().getState());
    assertTrue(stuck.saga().getNeedsOperator());
    var gone = fails(SagaException.class, runs.get(3));
    assertEquals("SAGA_NOT_FOUND", gone.reason());
    assertEquals(Status.Code.NOT_FOUND, gone.code());
    assertEquals(SharedRuns.ALONE_MAX, sagas.alone());
    sagas.release();
  }

  @Test
  void aRefusedSagaIsRefusedWithItsOwnFields() throws Exception {
    var problem = FieldProblem.newBuilder().setField("sagas[5].labels").setMessage("too many");
    var refusal = BatchError.newBuilder().setCode(Code.INVALID_ARGUMENT_VALUE).setReason("INVALID_REQUEST").addProblems(problem);
    sagas.refusing = saga -> saga.getSagaId().equals("s5") ? refusal.build() : null;
    var runs = runShared("s", SOME);
    var refused = fails(SagaException.class, runs.get(5));
    assertEquals(Status.Code.INVALID_ARGUMENT, refused.code());
    assertTrue(refused.getMessage().contains("said to it alone"), refused.getMessage());
    allSucceedFrom(6, runs);
    assertEquals(SharedRuns.ALONE_MAX + 1, sagas.alone());
    sagas.release();
  }

  // ---- who waits no longer

  @Test
  void aRunThatIsGivenUpLeavesTheOthersAlone() throws Exception {
    sagas.holdsAll = true;
    var runs = run(client, "s", SOME);
    sagas.awaitCreated(SOME);
    runs.get(0).cancel(true);
    runs.get(SOME - 1).cancel(true);
    var impatient = runs.get(SOME - 2).orTimeout(1, TimeUnit.MILLISECONDS);
    fails(TimeoutException.class, impatient);
    assertTrue(runs.subList(1, SOME - 2).stream().noneMatch(CompletableFuture::isDone));
    sagas.release();
    for (int number = 1; number < SOME - 2; number++) {
      assertEquals(number, get(runs.get(number)));
    }
  }

  @Test
  void aRunThatIsGivenUpBeforeItWasSentNeverIs() throws Exception {
    int port = sagas.port();
    sagas.close();
    var runs = run(client, "s", SOME);
    runs.get(SOME - 1).cancel(true);
    sagas = new FakeSagas(port, sagas.created);
    allSucceed(runs.subList(0, SOME - 1));
    assertFalse(sagas.created.containsKey("s" + (SOME - 1)));
  }

  @Test
  void closingTheClientTellsThoseWhoWait() throws Exception {
    sagas.holdsAll = true;
    var runs = new ArrayList<>(run(client, "s", SOME));
    sagas.awaitCreated(SOME);
    client.close();
    runs.add(client.run(numbered("late", 1)));
    for (var run : runs) {
      assertEquals(Status.Code.CANCELLED, fails(SagaException.class, run).code());
    }
    sagas.awaitGone(1);
  }

  // ---- the stream

  @Test
  void aStreamThatNobodyNeedsEnds() throws Exception {
    sagas.holdsAlone = true;
    Calls calls = calls(sagas.address(), Calls.PATIENCE);
    var shared = new SharedRuns(calls, Duration.ofMillis(10));
    for (int number = 0; number < SharedRuns.ALONE_MAX; number++) {
      shared.run(spec("alone-" + number));
    }
    for (int stream = 1; stream <= 3; stream++) {
      assertEquals(SagaState.SAGA_STATE_SUCCEEDED, get(shared.run(spec("s" + stream))).getState());
      sagas.awaitGone(stream);
      assertEquals(stream, sagas.streams());
    }
    shared.close();
    calls.close();
  }

  static Stream<List<Breaks>> breaks() {
    return Stream.of(
        List.of(new Breaks(0, Status.UNAVAILABLE), new Breaks(1, Status.UNAVAILABLE), new Breaks(2, Status.UNAVAILABLE)),
        List.of(new Breaks(2, null), new Breaks(1, Status.INTERNAL), new Breaks(0, Status.CANCELLED)));
  }

  @ParameterizedTest
  @MethodSource("breaks")
  void aBrokenStreamCostsNoRunItsEnd(List<Breaks> breaks) throws Exception {
    sagas.breaks.addAll(breaks);
    var runs = runShared("s", MANY);
    allSucceed(runs);
    assertTrue(sagas.streams() > breaks.size());
    assertEquals(SharedRuns.ALONE_MAX, sagas.alone());
    assertEquals(MANY + SharedRuns.ALONE_MAX, sagas.created.size());
    sagas.release();
  }

  @Test
  void anotherSecTakesUpWhatABrokenStreamHeld() throws Exception {
    sagas.holdsAll = true;
    try (FakeSagas other = new FakeSagas(0, sagas.created);
        Client both = Client.connect(sagas.address() + "," + other.address())) {
      var runs = run(both, "s", MANY);
      sagas.awaitCreated(MANY);
      sagas.breakStreams(Status.UNAVAILABLE);
      allSucceedFrom(SharedRuns.ALONE_MAX, runs);
      assertEquals(List.of(1, 1), List.of(sagas.streams(), other.streams()));
      long followed = other.frames.stream().mapToLong(RunSagasRequest::getFollowIdsCount).sum();
      assertTrue(followed > 0, "what was known to be durable is not sent again");
      sagas.release();
      allSucceed(runs);
    }
  }

  @Test
  void resultsOutOfOrderAreNotBelieved() throws Exception {
    sagas.mixesUp = true;
    allSucceed(runShared("s", SOME));
    assertEquals(2, sagas.streams());
    sagas.release();
  }

  @ParameterizedTest
  @EnumSource(value = Status.Code.class, names = {"PERMISSION_DENIED", "UNIMPLEMENTED"})
  void whereStreamsAreRefusedEveryRunHasACallOfItsOwn(Status.Code code) throws Exception {
    for (int stream = 0; stream < MANY; stream++) {
      sagas.breaks.add(new Breaks(0, code.toStatus()));
    }
    allSucceed(run(client, "s", SOME));
    assertEquals(SOME, sagas.alone());
  }

  @Test
  void whenPatienceIsOverEveryRunHearsThatNobodyIsThere() throws Exception {
    sagas.close();
    Calls calls = calls(sagas.address(), Duration.ofMillis(300));
    var shared = new SharedRuns(calls, SharedRuns.IDLE);
    for (var run : IntStream.range(0, SOME).mapToObj(number -> shared.run(spec("s" + number))).toList()) {
      assertEquals(Status.Code.UNAVAILABLE, fails(SagaException.class, run).code());
    }
    shared.close();
    calls.close();
  }
}
