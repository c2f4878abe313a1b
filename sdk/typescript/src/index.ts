/** Sagaline's TypeScript SDK: run the actions of sagas in workers, describe sagas, create and watch them. */

export {
  action,
  declareAction,
  type Action,
  type ActionOptions,
  type AnyAction,
  type Run,
  type Undo,
  type Undoing,
} from "./actions.js";
export { Client, type ClientOptions, type CreateOptions } from "./client/client.js";
export type { SagaFilterOptions } from "./client/filters.js";
export type {
  ActionBreakpointInfo,
  ActionLimit,
  Explanation,
  LimitInfo,
  NodeWait,
  ScopeLimit,
  SecInfo,
  WorkerInfo,
} from "./client/operating.js";
export type { ListOptions } from "./client/reading.js";
export type { Accountable, BatchPage, BreakpointAt, By, Control, Decision, Fault, Side } from "./client/steering.js";
export type { CallSettings } from "./client/calls.js";
export {
  CallStopped,
  CallTimeout,
  Conflict,
  InvalidRequest,
  LimitReached,
  NotAllowedNow,
  NotAuthenticated,
  NotFound,
  NotPermitted,
  NotServed,
  RpcError,
  SagaAlreadyExists,
  SagaNotFound,
  ServerFault,
  Unavailable,
  type Problem,
} from "./client/errors.js";
export {
  SagaNeedsOperator,
  SagaNotSucceeded,
  SagaUnfinished,
  SagaUnwound,
  type FailureInfo,
  type NodeInfo,
  type SagaInfo,
  type SagaState,
  type WatchedEntry,
} from "./client/states.js";
export type { CancelReason, Context, UndoContext, UndoInfo } from "./context.js";
export * from "./errors.js";
export { bytes, json, protobuf, type Codec, type JsonValue, type MessageCodec, type Payload } from "./payload.js";
export { graph, Graph, GraphBuilder, type After, type MapOptions, type NodeOptions } from "./graph/builder.js";
export type { RetryPolicy, Timeouts, UndoPolicy, Unknown } from "./graph/policies.js";
export { Ref, type Input, type InputsFor } from "./graph/refs.js";
export type { TlsOptions, Token } from "./security.js";
export type { Logger } from "./worker/logger.js";
export { Worker, type RunOptions, type WorkerOptions } from "./worker/worker.js";
export { VERSION } from "./version.js";
