package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.rpc.Code;
import dev.sagaline.v1.BatchError;
import dev.sagaline.v1.CreateResult;
import dev.sagaline.v1.Graph;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.RunSagasResponse;
import dev.sagaline.v1.SagaEnd;
import dev.sagaline.v1.SagaSpec;
import dev.sagaline.v1.SagaState;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a stream of many sagas sends, and what it takes answers for. */
class RunBookTest {
  private static final Graph GRAPH = Graph.newBuilder().setName("trip").build();

  private final RunBook book = new RunBook();

  private void add(String id, Graph graph, int bytes) {
    Payload params = Payload.newBuilder().setData(ByteString.copyFrom(new byte[bytes])).build();
    book.add(SagaSpec.newBuilder().setSagaId(id).setGraph(graph).setParams(params).build());
  }

  private void add(int count) {
    for (int number = 0; number < count; number++) {
      add("s" + number, GRAPH, 10);
    }
  }

  private List<RunSagasRequest> frames() {
    List<RunSagasRequest> frames = new ArrayList<>();
    for (var frame = book.nextFrame(); frame != null; frame = book.nextFrame()) {
      frames.add(frame);
    }
    return frames;
  }

  private static List<String> ids(RunSagasRequest frame) {
    return frame.getSagasList().stream().map(SagaSpec::getSagaId).toList();
  }

  private static RunSagasResponse durable(String... ids) {
    var frame = RunSagasResponse.newBuilder();
    for (String id : ids) {
      frame.addResults(CreateResult.newBuilder().setSagaId(id));
    }
    return frame.build();
  }

  private static SagaEnd.Builder end(String id) {
    return SagaEnd.newBuilder().setSagaId(id).setState(SagaState.SAGA_STATE_SUCCEEDED);
  }

  private static RunSagasResponse ends(SagaEnd.Builder... ends) {
    var frame = RunSagasResponse.newBuilder();
    for (SagaEnd.Builder end : ends) {
      frame.addEnds(end);
    }
    return frame.build();
  }

  @Test
  void framesHaveBoundsInSagasAndBytes() {
    add(Batches.SAGAS_MAX + 1);
    assertEquals(List.of(Batches.SAGAS_MAX, 1), frames().stream().map(RunSagasRequest::getSagasCount).toList());
    for (int number = 0; number < 4; number++) {
      add("large" + number, GRAPH, Batches.BYTES_MAX / 3);
    }
    add("huge", GRAPH, 2 * Batches.BYTES_MAX);
    add("last", GRAPH, 10);
    assertEquals(List.of(2, 2, 1, 1), frames().stream().map(RunSagasRequest::getSagasCount).toList());
  }

  @Test
  void aGraphGoesOnceAndSagasNameItByKey() {
    Graph other = Graph.newBuilder().setName("other").build();
    add("a", GRAPH, 1);
    add("b", other, 1);
    add("c", GRAPH, 1);
    RunSagasRequest frame = book.nextFrame();
    assertEquals(2, frame.getGraphsCount());
    for (SagaSpec saga : frame.getSagasList()) {
      assertTrue(!saga.hasGraph());
      assertEquals(saga.getSagaId().equals("b") ? other : GRAPH, frame.getGraphsOrThrow(saga.getGraphKey()));
    }
    add("d", other, 1);
    RunSagasRequest next = book.nextFrame();
    assertEquals(0, next.getGraphsCount());
    assertEquals(frame.getSagas(1).getGraphKey(), next.getSagas(0).getGraphKey());
  }

  @Test
  void graphsBeyondWhatAStreamTakesGoInsideTheirSagas() {
    for (int number = 0; number < Batches.GRAPHS_MAX + 1; number++) {
      add("s" + number, Graph.newBuilder().setName("g" + number).build(), 1);
    }
    var frames = frames();
    assertEquals(Batches.GRAPHS_MAX, frames.stream().mapToInt(RunSagasRequest::getGraphsCount).sum());
    var last = frames.get(frames.size() - 1);
    assertEquals("g" + Batches.GRAPHS_MAX, last.getSagas(last.getSagasCount() - 1).getGraph().getName());
    book.restart();
    Graph huge = Graph.newBuilder().setName("x".repeat(Batches.GRAPHS_BYTES_MAX)).build();
    add("huge", huge, 1);
    assertTrue(frames().stream().anyMatch(frame -> frame.getSagasList().stream().anyMatch(saga -> saga.getGraph() == huge)));
  }

  @Test
  void theNextStreamFollowsWhatIsDurableAndSendsTheRestAgain() {
    add(4);
    frames();
    assertEquals(List.of(), book.receive(durable("s0", "s1")));
    assertEquals(1, book.receive(ends(end("s0"))).size());
    book.restart();
    var frames = frames();
    assertEquals(List.of("s1"), List.copyOf(frames.get(0).getFollowIdsList()));
    assertTrue(frames.get(0).getOrNeedsOperator());
    assertEquals(List.of("s2", "s3"), ids(frames.get(1)));
    assertEquals(1, frames.get(1).getGraphsCount(), "the new stream does not know the graph");
    assertEquals(2, frames.size());
  }

  @Test
  void followedIdsHaveABoundToo() {
    int count = RunBook.FOLLOWED_MAX + 1;
    add(count);
    frames();
    for (int number = 0; number < count; number++) {
      book.receive(durable("s" + number));
    }
    book.restart();
    assertEquals(List.of(RunBook.FOLLOWED_MAX, 1), frames().stream().map(RunSagasRequest::getFollowIdsCount).toList());
  }

  @Test
  void anEndIsToldOnceAndThatOfADroppedSagaNever() {
    add(3);
    book.drop("s2");
    assertEquals(List.of("s0", "s1"), ids(book.nextFrame()));
    book.drop("s1");
    assertEquals(0, book.receive(durable("s0", "s1")).size());
    assertEquals(List.of(end("s0").build()), book.receive(ends(end("s0"), end("s1"), end("s0"))));
    assertNull(book.trouble());
    book.restart();
    assertNull(book.nextFrame());
  }

  @Test
  void aRefusalEndsItsSagaAndOneForTheMomentEndsTheStream() {
    add(2);
    frames();
    var refusal = BatchError.newBuilder().setCode(Code.INVALID_ARGUMENT_VALUE).setReason("INVALID_REQUEST").build();
    var notNow = BatchError.newBuilder().setCode(Code.UNAVAILABLE_VALUE).setReason("NOT_SERVING").build();
    var results =
        RunSagasResponse.newBuilder()
            .addResults(CreateResult.newBuilder().setError(refusal))
            .addResults(CreateResult.newBuilder().setSagaId("s1").setError(notNow));
    var ends = book.receive(results.build());
    assertEquals(List.of("s0"), ends.stream().map(SagaEnd::getSagaId).toList());
    assertEquals(refusal, ends.get(0).getError());
    assertEquals("NOT_SERVING", book.trouble().reason());
    book.restart();
    assertNull(book.trouble());
    assertEquals(List.of("s1"), ids(book.nextFrame()));
  }

  @Test
  void aResultThatIsNotDueEndsTheStream() {
    add(2);
    frames();
    book.receive(durable("s1"));
    assertNotNull(book.trouble());
    book.restart();
    frames();
    book.receive(durable("s0", "s1", "s0"));
    assertNotNull(book.trouble());
  }
}
