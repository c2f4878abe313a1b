/** What operators use: SECs, workers, why a node waits, limits, quarantine. */

import { durationOf, millisOf } from "../durations.js";
import { ActionBreakpoint, Limit, WaitReason } from "../gen/sagaline/v1/admin_service.js";
import { InvocationKind } from "../gen/sagaline/v1/saga.js";
import type { CallSettings } from "./calls.js";
import { found, WAIT_MARGIN } from "./reading.js";
import { dateOf, type SagaInfo } from "./states.js";
import { KINDS, Steering, type Accountable, type Side } from "./steering.js";

export interface SecInfo {
  readonly secId: string;
  readonly address: string;
  readonly draining: boolean;
  readonly incarnation: bigint;
  readonly version: string;
  readonly ownedSagas: number;
  readonly workers: number;
}

export interface WorkerInfo {
  readonly workerId: string;
  readonly identity: string;
  readonly buildId: string;
  readonly sdk: string;
  readonly actions: readonly { readonly action: string; readonly versions: readonly string[] }[];
  readonly inFlight: number;
  /** False: its stream is down, in its grace time. */
  readonly connected: boolean;
  readonly draining: boolean;
  readonly connectTime: Date | undefined;
}

/** Why a node waits. */
export interface NodeWait {
  readonly node: string;
  readonly side: Side;
  /** Lower case, such as "no_worker" or "all_full". */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  /** Milliseconds, since this SEC knows of it. */
  readonly age: number | undefined;
}

export interface Explanation {
  readonly waits: readonly NodeWait[];
  /** What will go wrong unless somebody looks, for people. */
  readonly warnings: readonly string[];
}

export interface ScopeLimit {
  /** Sagas that may run at once; others wait before their first start. Absent: no bound. */
  readonly maxRunning?: number;
  /** Once so many unwind or need an operator, new ones wait. Absent: no bound. */
  readonly maxFailing?: number;
}

export interface ActionLimit {
  /** Attempts at once. Absent: no bound. */
  readonly maxInFlight?: number;
  /** Attempts that may start in a second. Absent: no bound. */
  readonly startsPerSecond?: number;
}

/** A limit on a scope or on an action; the other one is absent. */
export interface LimitInfo extends ScopeLimit, ActionLimit {
  readonly scope?: string;
  readonly action?: string;
}

export interface ActionBreakpointInfo {
  readonly action: string;
  /** Absent: both. */
  readonly side?: Side;
  readonly actor: string;
  readonly reason: string;
  readonly time: Date | undefined;
}

/** The part of a client that operators use. */
export class Operating extends Steering {
  /** The live SECs. */
  async secs(settings: CallSettings = {}): Promise<readonly SecInfo[]> {
    const { secs } = await this.calls.admin((client) => client.listSecs, {}, settings);
    return secs.map((each) => ({
      secId: each.sec?.secId ?? "",
      address: each.sec?.address ?? "",
      draining: each.sec?.draining ?? false,
      incarnation: each.incarnation,
      version: each.version,
      ownedSagas: Number(each.ownedSagas),
      workers: each.workers,
    }));
  }

  /** The workers that have a session with the SEC that answers. */
  async workers(settings: CallSettings = {}): Promise<readonly WorkerInfo[]> {
    const { workers } = await this.calls.admin((client) => client.listWorkers, {}, settings);
    return workers.map(({ workerId, identity, buildId, sdk, inFlight, connected, draining, ...rest }) => ({
      ...{ workerId, identity, buildId, sdk, inFlight, connected, draining },
      actions: rest.actions.map(({ action, versions }) => ({ action, versions })),
      connectTime: dateOf(rest.connectTime),
    }));
  }

  /** Why the nodes of a saga wait, and warnings of what will go wrong with them. */
  async explain(sagaId: string, settings: CallSettings = {}): Promise<Explanation> {
    const { waits, warnings } = await this.calls.admin((client) => client.explainSaga, { sagaId }, settings);
    return {
      warnings,
      waits: waits.map(({ node, kind, reason, message, age }) => ({
        ...{ node, message },
        side: kind === InvocationKind.UNDO ? "undo" : "action",
        reason: (WaitReason[reason] ?? "unknown").toLowerCase(),
        age: age && millisOf(age),
      })),
    };
  }

  /** Makes another SEC the owner of a saga: `toSec`, or the one that placement prefers. Never repeated by itself. */
  async handOff(
    sagaId: string,
    options: CallSettings & { readonly toSec?: string } = {},
  ): Promise<{ readonly owner: string; readonly epoch: bigint }> {
    const request = { sagaId, toSecId: options.toSec ?? "" };
    const { owner, epoch } = await this.calls.adminOnce((client) => client.handOff, request, options);
    return { owner: owner?.secId ?? "", epoch };
  }

  /**
   * Makes a SEC hand off everything and stop within so many milliseconds; absent `sec`: the one that answers. Never repeated
   * by itself.
   */
  async drain(options: { readonly sec?: string; readonly within?: number; signal?: AbortSignal } = {}): Promise<void> {
    const within = options.within ?? 60_000;
    const request = { secId: options.sec ?? "", timeout: durationOf(within) };
    const settings = { timeout: within + WAIT_MARGIN, signal: options.signal };
    await this.calls.adminOnce((client) => client.drainSec, request, settings);
  }

  /** Bounds the sagas of a scope over the whole cluster; what is absent is lifted. Those that have started go on. */
  async setScopeLimit(scope: string, limit: ScopeLimit, settings: CallSettings = {}): Promise<LimitInfo> {
    return this.setLimit(Limit.fromPartial({ subject: { $case: "scope", value: scope }, ...limit }), settings);
  }

  /** Bounds the attempts of an action over the whole cluster; what is absent is lifted. Undo is never bounded. */
  async setActionLimit(action: string, limit: ActionLimit, settings: CallSettings = {}): Promise<LimitInfo> {
    return this.setLimit(Limit.fromPartial({ subject: { $case: "action", value: action }, ...limit }), settings);
  }

  /** The limits on scopes and actions. */
  async limits(settings: CallSettings = {}): Promise<readonly LimitInfo[]> {
    return (await this.calls.admin((client) => client.listLimits, {}, settings)).limits.map(limitInfo);
  }

  /**
   * Holds every start of an action, in every saga on every SEC, until a step lets it pass or the breakpoint is cleared; it
   * stays over restarts. Absent `side`: both.
   */
  async setActionBreakpoint(action: string, by: Accountable & { readonly side?: Side }): Promise<ActionBreakpointInfo> {
    const { actor, reason, side } = by;
    const breakpoint = ActionBreakpoint.fromPartial({ action, actor, reason, ...(side && { kind: KINDS[side] }) });
    const response = await this.calls.admin((client) => client.setActionBreakpoint, { breakpoint }, by);
    return breakpointInfo(response.breakpoint ?? breakpoint);
  }

  /** Clears the breakpoint on an action; what it held goes on. */
  async clearActionBreakpoint(action: string, settings: CallSettings = {}): Promise<void> {
    await this.calls.admin((client) => client.clearActionBreakpoint, { action }, settings);
  }

  /** The breakpoints on actions. */
  async actionBreakpoints(settings: CallSettings = {}): Promise<readonly ActionBreakpointInfo[]> {
    const { breakpoints } = await this.calls.admin((client) => client.listActionBreakpoints, {}, settings);
    return breakpoints.map(breakpointInfo);
  }

  /** Sets a saga aside: nothing of it starts until it is released, and results are still logged. */
  async quarantine(sagaId: string, by: Accountable): Promise<SagaInfo> {
    const request = { sagaId, actor: by.actor, reason: by.reason };
    return found((await this.calls.admin((client) => client.quarantineSaga, request, by)).saga);
  }

  /** Takes a saga back into service that was set aside. */
  async release(sagaId: string, by: Accountable): Promise<SagaInfo> {
    const request = { sagaId, actor: by.actor, reason: by.reason };
    return found((await this.calls.admin((client) => client.releaseSaga, request, by)).saga);
  }

  private async setLimit(limit: Limit, settings: CallSettings): Promise<LimitInfo> {
    return limitInfo((await this.calls.admin((client) => client.setLimit, { limit }, settings)).limit ?? limit);
  }
}

function breakpointInfo({ action, kind, actor, reason, time }: ActionBreakpoint): ActionBreakpointInfo {
  const side = (["action", "undo"] as const).find((each) => KINDS[each] === kind);
  return { action, actor, reason, time: dateOf(time), ...(side && { side }) };
}

function limitInfo(limit: Limit): LimitInfo {
  const { subject, maxRunning, maxFailing, maxInFlight, startsPerSecond } = limit;
  return {
    ...(subject && { [subject.$case]: subject.value }),
    ...(maxRunning !== undefined && { maxRunning }),
    ...(maxFailing !== undefined && { maxFailing }),
    ...(maxInFlight !== undefined && { maxInFlight }),
    ...(startsPerSecond !== undefined && { startsPerSecond }),
  };
}
