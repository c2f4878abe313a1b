/** Errors of calls: google.rpc.Status and its details, read into classes with stable codes. */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { status, type StatusObject } from "@grpc/grpc-js";

import { SagalineError } from "../errors.js";
import { Duration } from "../gen/google/protobuf/duration.js";
import { millisOf } from "../durations.js";
import type { BatchError } from "../gen/sagaline/v1/saga_service.js";

/** `ErrorInfo.domain` of every reason that a SEC gives; another's reasons mean nothing here. */
const DOMAIN = "sagaline.dev";

/** One thing that is wrong with a request, or that would have to hold. */
export interface Problem {
  readonly field: string;
  readonly message: string;
}

export interface RpcErrorFacts {
  /** Name of the gRPC status, such as "NOT_FOUND". */
  readonly status: string;
  /** The server's stable reason, such as "SAGA_NOT_FOUND"; empty if it gave none. */
  readonly reason: string;
  readonly problems: readonly Problem[];
  /** Milliseconds to wait before the next try, where the server said so. */
  readonly retryDelay: number | undefined;
}

/** A call that a SEC refused, or that did not reach one. */
export class RpcError extends SagalineError implements RpcErrorFacts {
  override readonly code: string = "RPC_FAILED";
  readonly status: string;
  readonly reason: string;
  readonly problems: readonly Problem[];
  readonly retryDelay: number | undefined;

  constructor(message: string, facts: RpcErrorFacts) {
    const lines = facts.problems.map((problem) => `\n  ${problem.field}: ${problem.message}`);
    super(message + (facts.reason === "" ? "" : ` [${facts.reason}]`) + lines.join(""));
    this.status = facts.status;
    this.reason = facts.reason;
    this.problems = facts.problems;
    this.retryDelay = facts.retryDelay;
  }
}

/** The request is wrong: `problems` says where. Nothing was written. */
export class InvalidRequest extends RpcError {
  override readonly code = "INVALID_REQUEST";
}
/** What the call names does not exist. */
export class NotFound extends RpcError {
  override readonly code: string = "NOT_FOUND";
}
/** There is no saga of that id. */
export class SagaNotFound extends NotFound {
  override readonly code = "SAGA_NOT_FOUND";
}
/** The id belongs to a saga of other content. */
export class SagaAlreadyExists extends RpcError {
  override readonly code = "SAGA_ALREADY_EXISTS";
}
/** The state of the saga or node does not allow it. */
export class NotAllowedNow extends RpcError {
  override readonly code = "NOT_ALLOWED_NOW";
}
/** A limit of the server is reached; later it may work. */
export class LimitReached extends RpcError {
  override readonly code = "LIMIT_REACHED";
}
/** This server does not serve the call. */
export class NotServed extends RpcError {
  override readonly code = "NOT_SERVED";
}
/** Credentials are missing, expired or wrong. */
export class NotAuthenticated extends RpcError {
  override readonly code = "NOT_AUTHENTICATED";
}
/** The caller is known and may not do this. */
export class NotPermitted extends RpcError {
  override readonly code = "NOT_PERMITTED";
}
/** Something else changed at the same time; try again. */
export class Conflict extends RpcError {
  override readonly code = "CONFLICT";
}
/** No SEC could be reached, or it is stopping. Whether the call had its effect is not known. */
export class Unavailable extends RpcError {
  override readonly code = "UNAVAILABLE";
}
/** No answer came in time. Whether the call had its effect is not known. */
export class CallTimeout extends RpcError {
  override readonly code = "CALL_TIMEOUT";
}
/** The call was given up on this side. Whether it had its effect is not known. */
export class CallStopped extends RpcError {
  override readonly code = "CALL_STOPPED";
}
/** A fault inside the server. Whether the call had its effect is not known. */
export class ServerFault extends RpcError {
  override readonly code = "SERVER_FAULT";
}

const BY_STATUS: Partial<Record<string, new (message: string, facts: RpcErrorFacts) => RpcError>> = {
  INVALID_ARGUMENT: InvalidRequest,
  OUT_OF_RANGE: InvalidRequest,
  NOT_FOUND: NotFound,
  ALREADY_EXISTS: SagaAlreadyExists,
  FAILED_PRECONDITION: NotAllowedNow,
  RESOURCE_EXHAUSTED: LimitReached,
  UNIMPLEMENTED: NotServed,
  UNAUTHENTICATED: NotAuthenticated,
  PERMISSION_DENIED: NotPermitted,
  ABORTED: Conflict,
  UNAVAILABLE: Unavailable,
  DEADLINE_EXCEEDED: CallTimeout,
  CANCELLED: CallStopped,
  INTERNAL: ServerFault,
  UNKNOWN: ServerFault,
  DATA_LOSS: ServerFault,
};

function make(message: string, facts: RpcErrorFacts): RpcError {
  const known = facts.reason === "SAGA_NOT_FOUND" ? SagaNotFound : (BY_STATUS[facts.status] ?? RpcError);
  return new known(message, facts);
}

/** The error that a failed call stands for. */
export function errorOfCall(error: StatusObject): RpcError {
  const details = error.metadata.get("grpc-status-details-bin")[0];
  const facts = { reason: "", problems: [] as Problem[], retryDelay: undefined as number | undefined };
  if (Buffer.isBuffer(details)) {
    try {
      readStatus(details, facts);
    } catch {
      // details that can't be read must not hide the error itself
    }
  }
  const message = error.details === "" ? "the call failed and nothing says why" : error.details;
  return make(message, { status: status[error.code] ?? "UNKNOWN", ...facts });
}

/** The error that one refused saga of a batch stands for. */
export function errorOfBatch(error: BatchError): RpcError {
  const problems = error.problems.map(({ field, message }) => ({ field, message }));
  return make(error.message, {
    status: status[error.code] ?? "UNKNOWN",
    reason: error.reason,
    problems,
    retryDelay: undefined,
  });
}

interface Facts {
  reason: string;
  problems: Problem[];
  retryDelay: number | undefined;
}

function readStatus(bytes: Uint8Array, facts: Facts): void {
  for (const any of fields(bytes, 3)) {
    const type = text(any, 1).split("/").at(-1);
    const value = fields(any, 2)[0] ?? new Uint8Array();
    if (type === "google.rpc.ErrorInfo" && text(value, 2) === DOMAIN) {
      facts.reason = text(value, 1);
    } else if (type === "google.rpc.BadRequest") {
      facts.problems.push(...fields(value, 1).map((item) => ({ field: text(item, 1), message: text(item, 2) })));
    } else if (type === "google.rpc.PreconditionFailure") {
      facts.problems.push(...fields(value, 1).map((item) => ({ field: text(item, 2), message: text(item, 3) })));
    } else if (type === "google.rpc.RetryInfo") {
      const delay = fields(value, 1)[0];
      facts.retryDelay = delay === undefined ? undefined : millisOf(Duration.decode(delay));
    }
  }
}

/** The values of one length-delimited field of a message. */
function fields(bytes: Uint8Array, number: number): Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === number && type === WireType.LengthDelimited) {
      found.push(reader.bytes());
    } else {
      reader.skip(type);
    }
  }
  return found;
}

function text(bytes: Uint8Array, number: number): string {
  return Buffer.from(fields(bytes, number)[0] ?? []).toString("utf8");
}
