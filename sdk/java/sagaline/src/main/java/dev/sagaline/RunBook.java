package dev.sagaline;

import dev.sagaline.v1.BatchError;
import dev.sagaline.v1.CreateResult;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.RunSagasResponse;
import dev.sagaline.v1.SagaEnd;
import dev.sagaline.v1.SagaSpec;
import io.grpc.Status;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Runs many sagas over one RunSagas stream and survives its breaking: what to send, and what was answered. It does no I/O.
 *
 * <p>A saga is outstanding from the moment it is added until its end is known. When a stream breaks, the next one is told of all
 * outstanding sagas: those known to be durable are followed by id, the others are sent again, which is safe because each has an
 * id. So every saga ends exactly once here, however many streams it takes.
 */
final class RunBook {
  /** What the protocol allows a frame. */
  static final int FOLLOWED_MAX = 1_000;

  private final Map<String, SagaSpec> outstanding = new LinkedHashMap<>();
  private final Set<String> durable = new HashSet<>();
  private final Deque<String> unfollowed = new ArrayDeque<>();

  /** Sagas sent on the present stream whose creation it has not told of yet, in the order sent. */
  private final Deque<String> unanswered = new ArrayDeque<>();

  private Batches batches = new Batches();
  private SagaException trouble;
  private long progress;

  /** Takes on one more saga, none of whose id may be outstanding. */
  void add(SagaSpec saga) {
    outstanding.put(saga.getSagaId(), saga);
    batches.add(saga);
  }

  /** Takes no more interest in a saga. If it was not sent yet, it never is. */
  void drop(String id) {
    if (outstanding.remove(id) != null) {
      durable.remove(id);
      batches.drop(id);
    }
  }

  /** How often a saga came further: was durable, or ended. It grows as long as the stream gets on. */
  long progress() {
    return progress;
  }

  /** Why the present stream is of no more use, though it has not broken; null if it is. */
  SagaException trouble() {
    return trouble;
  }

  /** Begins a new stream: what the last one had not answered may or may not have arrived. */
  void restart() {
    trouble = null;
    batches = new Batches();
    unanswered.clear();
    unfollowed.clear();
    outstanding.forEach(
        (id, saga) -> {
          if (durable.contains(id)) {
            unfollowed.add(id);
          } else {
            batches.add(saga);
          }
        });
  }

  /** The next frame to send; null if there is nothing to say at present. */
  RunSagasRequest nextFrame() {
    RunSagasRequest.Builder frame;
    if (!unfollowed.isEmpty()) {
      frame = RunSagasRequest.newBuilder();
      while (!unfollowed.isEmpty() && frame.getFollowIdsCount() < FOLLOWED_MAX) {
        frame.addFollowIds(unfollowed.remove());
      }
    } else {
      frame = batches.next();
      if (frame == null) {
        return null;
      }
      frame.getSagasList().forEach(saga -> unanswered.add(saga.getSagaId()));
    }
    return frame.setOrNeedsOperator(true).build();
  }

  /** The ends of sagas that are outstanding no more; those that were refused have an error. Afterwards look at the trouble. */
  List<SagaEnd> receive(RunSagasResponse frame) {
    List<SagaEnd> ends = new ArrayList<>();
    frame.getResultsList().forEach(result -> created(result, ends));
    frame.getEndsList().forEach(end -> ended(end, ends));
    return ends;
  }

  private void created(CreateResult result, List<SagaEnd> ends) {
    String expected = unanswered.poll();
    String id = result.getSagaId();
    if (expected == null || !(id.isEmpty() || id.equals(expected))) {
      String message = "the SEC told of the creation of \"" + id + "\" where that of \"" + expected + "\" was due";
      trouble = SagaException.of(Status.Code.INTERNAL, message);
    } else if (result.hasError()) {
      refused(expected, result.getError(), ends);
    } else if (outstanding.containsKey(expected)) {
      progress++;
      durable.add(expected);
    }
  }

  private void ended(SagaEnd end, List<SagaEnd> ends) {
    if (end.hasError()) {
      refused(end.getSagaId(), end.getError(), ends);
    } else if (take(end.getSagaId())) {
      ends.add(end);
    }
  }

  private void refused(String id, BatchError error, List<SagaEnd> ends) {
    SagaException refusal = SagaException.of(error);
    if (refusal.code() == Status.Code.UNAVAILABLE) {
      trouble = refusal; // it says nothing of the saga: on the next stream that is sent or followed again
    } else if (take(id)) {
      ends.add(SagaEnd.newBuilder().setSagaId(id).setError(error).build());
    }
  }

  /** Whether the saga was outstanding, and is no more; a second word on its end adds nothing. */
  private boolean take(String id) {
    progress++;
    durable.remove(id);
    return outstanding.remove(id) != null;
  }
}
