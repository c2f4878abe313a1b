/** A SagaService in this process, whose sagas end at once or when a test says so, and whose streams break. */

import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from "@grpc/grpc-js";

import { SagaState, type Graph, type SagaSpec } from "../src/gen/sagaline/v1/saga.js";
import {
  BatchError,
  RunSagaResponse,
  RunSagasResponse,
  SagaEnd,
  SagaServiceService,
  WaitSagaResponse,
  type RunSagaRequest,
  type RunSagasRequest,
  type WaitSagaRequest,
} from "../src/gen/sagaline/v1/saga_service.js";

/** How a stream ends before its time. */
export interface Break {
  readonly afterFrames: number;
  /** OK: as if all were well. */
  readonly code: status;
}

type Stream = ServerDuplexStream<RunSagasRequest, RunSagasResponse>;

/** One RunSagas stream, as the server sees it. */
class Conversation {
  readonly requests: RunSagasRequest[] = [];
  readonly graphs = new Map<string, Graph>();
  /** Ids whose ends it has yet to tell. */
  readonly followed = new Set<string>();
  sent = 0;

  constructor(
    readonly address: string,
    readonly stream: Stream,
    readonly breaks: Break | undefined,
  ) {}
}

/** A RunSaga that waits. */
interface Held {
  readonly address: string;
  readonly answer: () => void;
  readonly fail: () => void;
}

const ENDS = { code: status.UNAVAILABLE, details: "the SEC ends", metadata: new Metadata() };

/** Sagas that any number of servers share, as SECs of one cluster do. */
export class FakeSagas {
  /** Every saga that was created. */
  readonly created = new Map<string, SagaSpec>();
  /** Ids as they were created, or asked for again. */
  readonly asked: string[] = [];
  readonly conversations: Conversation[] = [];
  /** One for each stream, in order; those beyond are whole. */
  breaks: Break[] = [];
  /** By id: why the stream refuses to create or follow it, once. */
  readonly refusals = new Map<string, BatchError>();
  /** By id: how it ends, if not well. */
  readonly ends = new Map<string, Partial<SagaEnd>>();
  /** Sagas do not end before `release`. */
  isHolding = false;
  runCalls = 0;
  waitCalls = 0;
  /** Streams that are over. */
  streamsGone = 0;
  private readonly servers = new Map<string, Server>();
  private readonly held: Held[] = [];
  private readonly watchers = new Set<() => void>();

  /** Serves at one more address. */
  async serve(): Promise<string> {
    const server = new Server();
    let address = "";
    server.addService(SagaServiceService, {
      runSaga: (call: ServerUnaryCall<RunSagaRequest, RunSagaResponse>, done: sendUnaryData<RunSagaResponse>) => {
        this.runCalls += 1;
        this.runSaga(address, call.request, done);
        this.changed();
      },
      waitSaga: (call: ServerUnaryCall<WaitSagaRequest, WaitSagaResponse>, done: sendUnaryData<WaitSagaResponse>) => {
        this.waitCalls += 1;
        done(null, WaitSagaResponse.fromPartial({ saga: this.saga(call.request.sagaId) }));
      },
      runSagas: (stream: Stream) => {
        this.converse(new Conversation(address, stream, this.breaks.shift()));
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) {
          resolve(bound);
        } else {
          reject(error);
        }
      });
    });
    address = `127.0.0.1:${String(port)}`;
    this.servers.set(address, server);
    return address;
  }

  /** One server leaves as a SEC does: what waits is told to go elsewhere. */
  leave(address: string): void {
    this.servers.get(address)?.tryShutdown(() => undefined);
    this.breakStreams(address);
    for (const held of this.held.filter((each) => each.address === address)) {
      this.held.splice(this.held.indexOf(held), 1);
      held.fail();
    }
  }

  /** Breaks the streams of one server, or of all. */
  breakStreams(address?: string): void {
    for (const conversation of this.conversations) {
      if (address === undefined || conversation.address === address) {
        conversation.stream.emit("error", ENDS);
      }
    }
  }

  stop(): void {
    for (const server of this.servers.values()) {
      server.forceShutdown();
    }
  }

  /** Lets the sagas that are held end, and all that come. */
  release(): void {
    this.isHolding = false;
    for (const { answer } of this.held.splice(0)) {
      answer();
    }
    for (const conversation of this.conversations) {
      this.tellEnds(conversation);
    }
  }

  /** Waits until something holds, which it looks at whenever something happens here. */
  until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (holds()) {
          this.watchers.delete(look);
          resolve();
        }
      };
      this.watchers.add(look);
      look();
    });
  }

  private changed(): void {
    for (const look of [...this.watchers]) {
      look();
    }
  }

  private runSaga(
    address: string,
    { saga: spec, timeout }: RunSagaRequest,
    done: sendUnaryData<RunSagaResponse>,
  ): void {
    if (spec === undefined || spec.labels.has("bad")) {
      done({ code: status.INVALID_ARGUMENT, details: "bad, says RunSaga", metadata: new Metadata() });
      return;
    }
    this.create(spec);
    const answer = (): void => {
      done(null, RunSagaResponse.fromPartial({ saga: this.saga(spec.sagaId) }));
    };
    if (this.isHolding && timeout?.seconds !== 0n) {
      const fail = (): void => {
        done(ENDS);
      };
      this.held.push({ address, answer, fail });
    } else {
      answer();
    }
  }

  private create(spec: SagaSpec): void {
    this.asked.push(spec.sagaId);
    this.created.set(spec.sagaId, spec);
  }

  private saga(sagaId: string): object {
    const spec = this.created.get(sagaId);
    const { state, output, failure, needsOperator } = this.end(sagaId);
    const now = this.isHolding ? SagaState.RUNNING : state;
    return { sagaId, state: now, output, failure, needsOperator, labels: spec?.labels ?? new Map() };
  }

  private end(sagaId: string): SagaEnd {
    const output = this.created.get(sagaId)?.params;
    return { ...SagaEnd.fromPartial({ sagaId, state: SagaState.SUCCEEDED, output }), ...this.ends.get(sagaId) };
  }

  private converse(conversation: Conversation): void {
    const { stream } = conversation;
    this.conversations.push(conversation);
    stream.on("data", (request: RunSagasRequest) => {
      conversation.requests.push(request);
      this.take(conversation, request);
      this.changed();
    });
    stream.on("error", () => undefined);
    stream.on("end", () => {
      stream.end();
    });
    stream.on("close", () => {
      this.streamsGone += 1;
      this.changed();
    });
    this.changed();
  }

  private take(conversation: Conversation, request: RunSagasRequest): void {
    const response = RunSagasResponse.fromPartial({});
    for (const [key, graph] of request.graphs) {
      conversation.graphs.set(key, graph);
    }
    for (const spec of request.sagas) {
      const refusal = this.refusal(spec.sagaId);
      const graph = spec.graph ?? conversation.graphs.get(spec.graphKey);
      const error = refusal ?? (graph === undefined ? BatchError.fromPartial({ code: 3 }) : undefined);
      response.results.push({ sagaId: spec.sagaId, existed: this.created.has(spec.sagaId), error, saga: undefined });
      if (error === undefined) {
        this.create(spec);
        conversation.followed.add(spec.sagaId);
      }
    }
    for (const sagaId of request.followIds) {
      const error = this.refusal(sagaId);
      if (error !== undefined) {
        response.ends.push(SagaEnd.fromPartial({ sagaId, error }));
      } else {
        conversation.followed.add(sagaId);
      }
    }
    this.send(conversation, response);
    this.tellEnds(conversation);
  }

  private refusal(sagaId: string): BatchError | undefined {
    const refusal = this.refusals.get(sagaId);
    this.refusals.delete(sagaId);
    return refusal;
  }

  /** In two frames, and backwards: ends come in any order. */
  private tellEnds(conversation: Conversation): void {
    if (this.isHolding) {
      return;
    }
    const ends = [...conversation.followed].reverse().map((sagaId) => this.end(sagaId));
    conversation.followed.clear();
    const middle = Math.ceil(ends.length / 2);
    for (const part of [ends.slice(0, middle), ends.slice(middle)].filter(({ length }) => length > 0)) {
      this.send(conversation, RunSagasResponse.fromPartial({ ends: part }));
    }
  }

  private send(conversation: Conversation, response: RunSagasResponse): void {
    const { stream, breaks } = conversation;
    if (breaks?.afterFrames === conversation.sent) {
      conversation.sent = Number.POSITIVE_INFINITY;
      if (breaks.code === status.OK) {
        stream.end();
      } else {
        stream.emit("error", { code: breaks.code, details: "broken", metadata: new Metadata() });
      }
    } else if (conversation.sent !== Number.POSITIVE_INFINITY) {
      conversation.sent += 1;
      stream.write(response);
    }
  }
}
