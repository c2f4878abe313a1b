/** What a client does to sagas that run. */

import { Breakpoint, FaultKind, Resolution } from "../gen/sagaline/v1/log.js";
import { InvocationKind } from "../gen/sagaline/v1/saga.js";
import { BatchControl } from "../gen/sagaline/v1/saga_service.js";
import { newUuid7 } from "../ids.js";
import { encodeJson, type JsonValue, type Payload } from "../payload.js";
import type { CallSettings } from "./calls.js";
import { filterMessage, type SagaFilterOptions } from "./filters.js";
import { found, Reading, SCAN_TIMEOUT } from "./reading.js";
import type { SagaInfo } from "./states.js";

/** Who asks and why; stored in the log. */
export interface By extends CallSettings {
  readonly actor?: string;
  readonly reason?: string;
}

/** Where both have to be said. */
export type Accountable = By & { readonly actor: string; readonly reason: string };

export type Decision = "retry" | "mark_undone" | "mark_failed" | "supply_output";

export type Side = "action" | "undo";

/** A node on both sides, or on one; a subsaga is every node in it, and "*" every node. */
export type BreakpointAt = string | { readonly node: string; readonly side?: Side };

export type Fault = "action_error" | "undo_error" | "repeat" | "crash_before_result";

export type Control = "pause" | "resume" | "unwind";

/** What one page of a batch did. */
export interface BatchPage {
  readonly sagaIds: readonly string[];
  /** Sagas that refused, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
}

const RESOLUTIONS: Record<Decision, Resolution> = {
  retry: Resolution.RETRY,
  mark_undone: Resolution.MARK_UNDONE,
  mark_failed: Resolution.MARK_FAILED,
  supply_output: Resolution.SUPPLY_OUTPUT,
};
export const KINDS: Record<Side, InvocationKind> = { action: InvocationKind.ACTION, undo: InvocationKind.UNDO };
const FAULTS: Record<Fault, FaultKind> = {
  action_error: FaultKind.ACTION_ERROR,
  undo_error: FaultKind.UNDO_ERROR,
  repeat: FaultKind.REPEAT,
  crash_before_result: FaultKind.CRASH_BEFORE_RESULT,
};
const CONTROLS: Record<Control, BatchControl> = {
  pause: BatchControl.PAUSE,
  resume: BatchControl.RESUME,
  unwind: BatchControl.UNWIND,
};

/** The part of a client that steers. */
export class Steering extends Reading {
  /** Asks a saga to undo what it has done. */
  async unwind(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.unwindSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Holds every start of an action or undo action of a saga. */
  async pause(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.pauseSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Ends a pause. */
  async resume(sagaId: string, by: By = {}): Promise<SagaInfo> {
    return found((await this.calls.call((client) => client.resumeSaga, { sagaId, by: attribution(by) }, by)).saga);
  }

  /** Sends a signal, whose payload becomes the node's output. Counts once for each `requestId`. */
  async signal(
    sagaId: string,
    signal: string,
    payload: JsonValue = null,
    options: CallSettings & { readonly requestId?: string } = {},
  ): Promise<SagaInfo> {
    const request = { sagaId, signal, payload: encodeJson(payload), requestId: options.requestId ?? newUuid7() };
    return found((await this.calls.call((client) => client.signalSaga, request, options)).saga);
  }

  /**
   * Decides about a node that is held, in doubt, or whose undo failed. Never repeated by itself. With `expectedLogLength`, the
   * `logLength` of what the decision rests on, it is refused with `SAGA_CHANGED` if the saga has gone on since.
   */
  async resolve(
    sagaId: string,
    node: string,
    decision: Decision,
    by: Accountable & { readonly output?: Payload; readonly expectedLogLength?: number },
  ): Promise<SagaInfo> {
    const request = {
      sagaId,
      node,
      resolution: RESOLUTIONS[decision],
      by: attribution(by),
      output: by.output,
      expectedLogLength: BigInt(by.expectedLogLength ?? 0),
    };
    return found((await this.calls.callOnce((client) => client.resolveNode, request, by)).saga);
  }

  /**
   * Lets a number of starts pass the gate of a saga that is paused or has breakpoints, beside those that are left. Never
   * repeated by itself.
   */
  async step(sagaId: string, steps = 1, by: By = {}): Promise<SagaInfo> {
    const request = { sagaId, steps, by: attribution(by) };
    return found((await this.calls.callOnce((client) => client.stepSaga, request, by)).saga);
  }

  /** Replaces a saga's breakpoints: where its gate holds every start until a step lets it pass. */
  async setBreakpoints(sagaId: string, points: readonly BreakpointAt[], by: By = {}): Promise<SagaInfo> {
    const breakpoints = points.map((point) =>
      typeof point === "string"
        ? Breakpoint.fromPartial({ node: point })
        : Breakpoint.fromPartial({ node: point.node, ...(point.side && { kind: KINDS[point.side] }) }),
    );
    const request = { sagaId, breakpoints, by: attribution(by) };
    return found((await this.calls.call((client) => client.setBreakpoints, request, by)).saga);
  }

  /** Makes later attempts of a node go wrong, for tests; only where the server allows it. Never repeated by itself. */
  async injectFault(
    sagaId: string,
    node: string,
    fault: Fault,
    options: By & { readonly times?: number } = {},
  ): Promise<SagaInfo> {
    const request = { sagaId, node, fault: FAULTS[fault], times: options.times ?? 1, by: attribution(options) };
    return found((await this.calls.callOnce((client) => client.injectFault, request, options)).saga);
  }

  /** Pauses, resumes or unwinds every unfinished saga that a filter selects, page by page; safe to repeat. */
  async *batchControl(
    control: Control,
    which: SagaFilterOptions,
    by: By = {},
  ): AsyncGenerator<BatchPage, void, undefined> {
    const filter = filterMessage(which);
    const settings = { timeout: by.timeout ?? SCAN_TIMEOUT, signal: by.signal };
    let pageToken = "";
    do {
      const request = { filter, control: CONTROLS[control], by: attribution(by), pageToken };
      const page = await this.calls.call((client) => client.batchControlSagas, request, settings);
      yield { sagaIds: page.sagaIds, refused: page.refused };
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
}

function attribution(by: By): { actor: string; reason: string } {
  return { actor: by.actor ?? "", reason: by.reason ?? "" };
}
