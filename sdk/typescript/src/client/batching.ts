/** Cuts sagas into the frames of one RunSagas stream, and sends each graph once. */

import { Graph, SagaSpec } from "../gen/sagaline/v1/saga.js";

/** Most sagas in a frame; the protocol allows 1,000. */
export const FRAME_SAGAS_MAX = 500;
/** A frame is closed before it grows over this; one saga that is larger goes alone. */
export const FRAME_BYTES_MAX = 768 * 1024;
/** Most graphs that one stream names by key, as the protocol has it; those beyond go inside their sagas. */
export const STREAM_GRAPHS_MAX = 1_000;

export interface Batch {
  readonly sagas: SagaSpec[];
  /** Graphs that sagas of this and later frames name by key. */
  readonly graphs: Map<string, Graph>;
}

interface Cut {
  readonly saga: SagaSpec;
  /** The graph, where it has to go beside the saga. */
  readonly graph?: Graph;
}

export class Batcher {
  private readonly queue = new Set<SagaSpec>();
  /** By identity: graphs never change, and comparing them would cost more than it saves. */
  private readonly keys = new Map<Graph, string>();

  /** Takes one more saga; frames have them in the order in which they were added. */
  add(saga: SagaSpec): void {
    this.queue.add(saga);
  }

  /** Leaves a saga out that is in no frame yet; false: it is in one, or was never added. */
  drop(saga: SagaSpec): boolean {
    return this.queue.delete(saga);
  }

  /** The sagas of the next frame; undefined if none is left. */
  next(): Batch | undefined {
    if (this.queue.size === 0) {
      return undefined;
    }
    const batch: Batch = { sagas: [], graphs: new Map() };
    let bytes = 0;
    for (const queued of this.queue) {
      const { saga, graph } = this.cut(queued);
      bytes += SagaSpec.encode(saga).finish().length + (graph === undefined ? 0 : Graph.encode(graph).finish().length);
      if (batch.sagas.length === FRAME_SAGAS_MAX || (batch.sagas.length > 0 && bytes > FRAME_BYTES_MAX)) {
        break;
      }
      this.queue.delete(queued);
      batch.sagas.push(saga);
      if (graph !== undefined) {
        this.keys.set(graph, saga.graphKey);
        batch.graphs.set(saga.graphKey, graph);
      }
    }
    return batch;
  }

  private cut(saga: SagaSpec): Cut {
    const graph = saga.graph;
    const known = graph === undefined ? undefined : this.keys.get(graph);
    if (graph === undefined || (known === undefined && this.keys.size >= STREAM_GRAPHS_MAX)) {
      return { saga };
    }
    const keyed = { ...saga, graph: undefined, graphKey: known ?? `g${String(this.keys.size)}` };
    return known === undefined ? { saga: keyed, graph } : { saga: keyed };
  }
}
