/** Failures that the worker itself tells of, and the limits of failure.proto that every failure is cut to. */

import { Failure, FailureDisposition, FailureSource } from "../../gen/sagaline/v1/failure.js";
import { Payload } from "../../gen/sagaline/v1/payload.js";

export const TYPE_BYTES = 128;
export const MESSAGE_BYTES = 4 * 1024;
export const STACK_BYTES = 16 * 1024;
export const DETAILS_MAX = 4;
export const DETAILS_BYTES = 16 * 1024;
export const DEPTH_MAX = 4;
export const RETRY_DELAY_MS_MAX = 30 * 86_400_000;

export function failure(
  type: string,
  message: string,
  disposition: FailureDisposition,
  source: FailureSource,
): Failure {
  return {
    type: cutText(type, TYPE_BYTES),
    message: cutText(message, MESSAGE_BYTES),
    disposition,
    source,
    nextRetryDelay: undefined,
    details: [],
    stackTrace: "",
    cause: undefined,
  };
}

/** The action ran and its effect stands, so neither a retry nor an undo is certain to help: an operator decides. */
export function payloadTooLarge(what: string, size: number, sizeMax: number): Failure {
  const message = `${what} has ${String(size)} bytes encoded, and ${String(sizeMax)} are allowed; pass a reference instead`;
  return failure("sagaline.PayloadTooLarge", message, FailureDisposition.HOLD, FailureSource.CONVERSION);
}

/** The attempt was stopped on its way: whether it had an effect is not known. */
export function cancelled(why: string): Failure {
  return failure("sagaline.Cancelled", `cancelled: ${why}`, FailureDisposition.RETRY, FailureSource.CANCELLED);
}

export function timedOut(): Failure {
  const message = "it ran longer than its start_to_close";
  return failure("sagaline.StartToCloseTimeout", message, FailureDisposition.RETRY, FailureSource.TIMEOUT);
}

export function notConvertible(side: "Input" | "Output", message: string): Failure {
  return failure(`sagaline.${side}NotConvertible`, message, FailureDisposition.HOLD, FailureSource.CONVERSION);
}

/** Cut a failure to its limits and to `sizeMax` bytes in all; what helps least goes first. */
export function bounded(given: Failure, sizeMax: number): Failure {
  const cut = cutFailure(given, 1);
  const fits = (): boolean => Failure.encode(cut).finish().length <= sizeMax;
  if (!fits()) {
    cut.details = [];
  }
  if (!fits()) {
    cut.cause = undefined;
  }
  if (!fits()) {
    cut.stackTrace = "";
  }
  return cut;
}

function cutFailure(given: Failure, depth: number): Failure {
  let room = DETAILS_BYTES;
  const details = given.details.slice(0, DETAILS_MAX).filter((detail) => {
    room -= Payload.encode(detail).finish().length;
    return room >= 0;
  });
  return {
    ...given,
    type: cutText(given.type, TYPE_BYTES),
    message: cutText(given.message, MESSAGE_BYTES),
    stackTrace: cutText(given.stackTrace, STACK_BYTES),
    details,
    cause: given.cause === undefined || depth >= DEPTH_MAX ? undefined : cutFailure(given.cause, depth + 1),
  };
}

/** Cut to a number of bytes of UTF-8, between characters. Lone surrogates become U+FFFD, as everywhere. */
export function cutText(text: string, bytesMax: number): string {
  const encoded = Buffer.from(text, "utf8");
  let end = Math.min(encoded.length, bytesMax);
  while (end > 0 && end < encoded.length && ((encoded[end] ?? 0) & 0xc0) === 0x80) {
    end -= 1;
  }
  return encoded.toString("utf8", 0, end);
}
