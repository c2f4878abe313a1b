package dev.sagaline;

import dev.sagaline.v1.Graph;
import dev.sagaline.v1.RunSagasRequest;
import dev.sagaline.v1.SagaSpec;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/** Cuts the sagas of one RunSagas stream into frames, in the order in which they came, and sends each graph once. */
final class Batches {
  /** The protocol allows 1,000. */
  static final int SAGAS_MAX = 500;

  /** A frame is closed before it grows over this; a saga that is larger goes alone. */
  static final int BYTES_MAX = 768 * 1024;

  /** What the protocol allows a stream; graphs beyond go inside their sagas. */
  static final int GRAPHS_MAX = 1_000;

  /** The same, of all of them together; a SEC allows the double. */
  static final int GRAPHS_BYTES_MAX = 8 * 1024 * 1024;

  private final Map<String, SagaSpec> queue = new LinkedHashMap<>();

  /** By identity: graphs are immutable, and to compare them would cost more than it saves. */
  private final Map<Graph, String> keys = new IdentityHashMap<>();

  private int graphsBytes;

  void add(SagaSpec saga) {
    queue.put(saga.getSagaId(), saga);
  }

  /** Leaves a saga out, if it is in no frame yet. */
  void drop(String id) {
    queue.remove(id);
  }

  /** A frame with some sagas; null if there are none. */
  RunSagasRequest.Builder next() {
    if (queue.isEmpty()) {
      return null;
    }
    RunSagasRequest.Builder frame = RunSagasRequest.newBuilder();
    int bytes = 0;
    Iterator<SagaSpec> left = queue.values().iterator();
    while (left.hasNext() && frame.getSagasCount() < SAGAS_MAX) {
      SagaSpec saga = left.next();
      String known = keys.get(saga.getGraph());
      String key = known == null ? newKey(saga.getGraph()) : known;
      SagaSpec sent = key == null ? saga : saga.toBuilder().clearGraph().setGraphKey(key).build();
      boolean bringsGraph = key != null && known == null;
      bytes += sent.getSerializedSize() + (bringsGraph ? saga.getGraph().getSerializedSize() : 0);
      if (frame.getSagasCount() > 0 && bytes > BYTES_MAX) {
        break;
      }
      left.remove();
      frame.addSagas(sent);
      if (bringsGraph) {
        keys.put(saga.getGraph(), key);
        graphsBytes += saga.getGraph().getSerializedSize();
        frame.putGraphs(key, saga.getGraph());
      }
    }
    return frame;
  }

  /** The key that a graph gets; null if the stream takes no more of them. */
  private String newKey(Graph graph) {
    boolean fits = keys.size() < GRAPHS_MAX && graphsBytes + graph.getSerializedSize() <= GRAPHS_BYTES_MAX;
    return fits ? "g" + keys.size() : null;
  }
}
