/** Runs user code on this thread's event loop, and turns how it ends into outcomes. */

import type { AnyAction } from "../actions.js";
import { AttemptContext } from "../context.js";
import { ActionOutcome } from "../errors.js";
import type { Invocation } from "../gen/sagaline/v1/worker_service.js";
import { decodeJson, NULL_PAYLOAD, type Codec, type Payload } from "../payload.js";
import type { End, ToIo } from "./io/messages.js";
import { servedKey } from "./io/messages.js";
import { describe, UNDO, type CancelReason } from "./machine/attempts.js";
import { notConvertible } from "./machine/failures.js";
import type { Outcome } from "./machine/holdings.js";
import type { Logger } from "./logger.js";
import { failureOf, textOf, typeName } from "./outcomes.js";

export interface ExecutorOptions {
  readonly actions: ReadonlyMap<string, AnyAction>;
  readonly post: (message: ToIo) => void;
  readonly poll: () => void;
  readonly logger: Logger;
  readonly sendStacks: boolean;
}

export class Executor {
  private readonly runs = new Map<string, AttemptContext>();
  private ends: End[] = [];

  constructor(private readonly options: ExecutorOptions) {}

  /** Hand attempts to user code. */
  start(attempts: readonly { key: string; invocation: Invocation }[]): void {
    for (const { key, invocation } of attempts) {
      const context = new AttemptContext(invocation, {
        poll: this.options.poll,
        progress: (details) => {
          this.options.post({ type: "progress", key, details });
        },
      });
      this.runs.set(key, context);
      void this.run(key, context);
    }
  }

  /** Ask an attempt to stop; false if it does not run. */
  stop(key: string, reason: CancelReason, startToClose: boolean): boolean {
    const context = this.runs.get(key);
    context?.cancel(reason, startToClose);
    return context !== undefined;
  }

  /** Never rejects: every attempt is answered, however it ends. */
  private async run(key: string, context: AttemptContext): Promise<void> {
    const outcome = await this.outcomeOf(context);
    this.runs.delete(key);
    this.ends.push({ key, outcome });
    if (this.ends.length === 1) {
      setImmediate(() => {
        const ends = this.ends;
        this.ends = [];
        this.options.post({ type: "ends", ends });
      });
    }
  }

  private async outcomeOf(context: AttemptContext): Promise<Outcome> {
    const invocation = context.invocation;
    const kind = invocation.ref?.kind ?? 0;
    const action = this.options.actions.get(servedKey(invocation.action, invocation.version, kind));
    if (action === undefined) {
      return fail(notConvertible("Input", `this worker does not serve ${invocation.action}`));
    }
    let input: object;
    let output: unknown;
    try {
      input = decodeInputs(action, invocation);
      const recorded = invocation.undo?.actionOutput;
      output = recorded === undefined ? undefined : action.output.decode(recorded);
    } catch (error) {
      return fail(notConvertible("Input", `${typeName(error)}: ${textOf(error)}`));
    }
    let value: unknown;
    try {
      value = kind === UNDO ? await action.undo?.({ input, output }, context) : await action.run(input, context);
    } catch (thrown) {
      return this.thrown(thrown, context);
    }
    if (kind === UNDO) {
      return { $case: "output", value: NULL_PAYLOAD };
    }
    try {
      return { $case: "output", value: plain(action.output.encode(value)) };
    } catch (error) {
      this.log("error", "an output can't be sent: the node is held", context, error);
      return fail(notConvertible("Output", `${typeName(error)}: ${textOf(error)}`));
    }
  }

  private thrown(thrown: unknown, context: AttemptContext): Outcome {
    if (thrown instanceof ActionOutcome) {
      this.log("info", `${thrown.name} ${thrown.message}`, context);
    } else if (!context.signal.aborted) {
      this.log("warn", "user code threw", context, thrown);
    }
    return fail(failureOf(thrown, context, this.options.sendStacks));
  }

  private log(level: "info" | "warn" | "error", what: string, context: AttemptContext, error?: unknown): void {
    const ref = context.invocation.ref;
    const attempt = ref === undefined ? "" : describe(ref);
    this.options.logger[level](what, { action: context.action, attempt, ...(error === undefined ? {} : { error }) });
  }
}

function fail(value: Extract<Outcome, { $case: "failure" }>["value"]): Outcome {
  return { $case: "failure", value };
}

/** Without the pooled memory behind a Buffer, which would all cross to the other thread. */
function plain(payload: Payload): Payload {
  if (payload.value?.$case !== "data") {
    return payload;
  }
  const value = new Uint8Array(payload.value.value) as Buffer;
  return { ...payload, value: { $case: "data", value } };
}

function decodeInputs(action: AnyAction, invocation: Invocation): object {
  const codecs = (action.options.inputs ?? {}) as Record<string, Codec<unknown> | undefined>;
  const inputs: Record<string, unknown> = {};
  for (const [name, payload] of invocation.inputs) {
    inputs[name] = Object.hasOwn(codecs, name) ? codecs[name]?.decode(payload) : decodeJson(payload);
  }
  return action.options.parse === undefined ? inputs : (action.options.parse(inputs) as object);
}
