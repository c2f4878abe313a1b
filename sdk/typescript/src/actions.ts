/** Actions and undo actions: functions, the names under which graphs and SECs know them, and how their values travel. */

import type { Context, UndoContext } from "./context.js";
import { DefinitionError } from "./errors.js";
import { json, type Codec } from "./payload.js";

/** Named inputs. */
export type Inputs = Record<string, unknown>;

export interface ActionOptions<In extends object, Out> {
  /** Exact version that graphs ask for. Absent: "1". */
  readonly version?: string;
  /** Slot pool that its attempts use. Absent: the pool "". */
  readonly pool?: string;
  /** Most attempts of it at once on a worker, for each SEC. Absent: no limit but the slots. */
  readonly maxInFlight?: number;
  /** How inputs travel that are not plain JSON. */
  readonly inputs?: { readonly [K in keyof In]?: Codec<In[K]> };
  /** How the output travels. Absent: as JSON. */
  readonly output?: Codec<Out>;
  /** Checks and converts all inputs together; throws what does not fit. */
  readonly parse?: (inputs: Inputs) => In;
  /** What its barrier promises. Absent: none. */
  readonly barrier?: "none" | "dedup" | "tombstone";
}

export type Run<In extends object, Out> = (input: In, context: Context) => Out | Promise<Out>;

/** What an undo action is given: the action's inputs, and its output unless its outcome is not known. */
export interface Undoing<In extends object, Out> {
  readonly input: In;
  /** Undefined where no definite answer of the action was ever had: it may have run, not have run, or still arrive. */
  readonly output: Out | undefined;
}

export type Undo<In extends object, Out> = (undoing: Undoing<In, Out>, context: UndoContext) => unknown;

/** An action as workers serve it and graphs name it. */
export interface Action<In extends object, Out> {
  readonly name: string;
  readonly version: string;
  readonly options: ActionOptions<In, Out>;
  readonly run: Run<In, Out>;
  readonly undo: Undo<In, Out> | undefined;
  readonly output: Codec<Out>;
  /** Other programs serve it; graphs here only name it. */
  readonly elsewhere: boolean;
}

/** Any action; lists of actions have this type. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- an action both takes and gives its types
export type AnyAction = Action<any, any>;

const NAME = /^[A-Za-z0-9._-]{1,128}$/;
const VERSION = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Defines an action, and its undo action.
 *
 * ```ts
 * const charge = action(
 *   "payments.charge",
 *   { version: "1" },
 *   async (input: { card: string; cents: number }, ctx) => gateway.charge(input.card, input.cents, ctx.idempotencyKey),
 *   { undo: async ({ input, output }, ctx) => gateway.refund(output?.id ?? ctx.undo.actionIdempotencyKey) },
 * );
 * ```
 */
export function action<In extends object, Out>(
  name: string,
  options: ActionOptions<In, Out>,
  run: Run<In, Out>,
  sides: { readonly undo?: Undo<In, Out> } = {},
): Action<In, Out> {
  const version = options.version ?? "1";
  if (!NAME.test(name)) {
    throw new DefinitionError(`${JSON.stringify(name)} can't name an action: use 1 to 128 of A-Z a-z 0-9 . _ -`);
  }
  if (!VERSION.test(version)) {
    throw new DefinitionError(`${JSON.stringify(version)} can't be a version: use 1 to 64 of A-Z a-z 0-9 . _ -`);
  }
  return { name, version, options, run, undo: sides.undo, output: options.output ?? json<Out>(), elsewhere: false };
}

/**
 * Names an action that other programs serve, perhaps in another language, so that graphs can be built of it. Its nodes are
 * undone by its undo action unless they say otherwise.
 *
 * ```ts
 * const charge = declareAction<{ card: string; cents: number }, Receipt>("payments.charge", { version: "2" });
 * ```
 */
export function declareAction<In extends object, Out>(
  name: string,
  options: ActionOptions<In, Out> = {},
): Action<In, Out> {
  const run = (): never => {
    throw new DefinitionError(`action ${name} is only declared: it has no function that could run`);
  };
  return { ...action<In, Out>(name, options, run), elsewhere: true };
}
