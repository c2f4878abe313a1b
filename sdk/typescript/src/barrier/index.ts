/**
 * One effect of everything that may arrive for a node: attempts that come again, come late, come after their undo, or
 * never came. It works inside your own PostgreSQL transaction, with one row for each node that is written together with
 * the change your action makes, and shares its table with the barriers of the other SDKs. docs/barrier.md says what it
 * asks of you, and how long rows stand.
 */

import type { Context, UndoContext } from "../context.js";
import type { Run, Undo, Undoing } from "../actions.js";
import { BarrierMisuse, Failed, Hold, InputMismatch, NotRecorded, Retry, StaleToken, Suppressed } from "../errors.js";
import { Failure } from "../gen/sagaline/v1/failure.js";
import { Payload } from "../gen/sagaline/v1/payload.js";
import { decodeJson, json, type Codec, type JsonValue } from "../payload.js";
import { told } from "../worker/outcomes.js";
import { digestOf } from "./digest.js";
import { decide, type Arrival, type Decision, type Row, type State } from "./machine.js";
import { schema, Statements, type Connection, type Key, type Recorded } from "./statements.js";

export { schema, type Connection } from "./statements.js";

/** What the barrier needs of a pool: `pg.Pool` has it. */
export interface Pool<C extends Connection> {
  connect(): Promise<C & { release(error?: Error): void }>;
}

export interface BarrierOptions {
  /** Absent: "sagaline_barrier"; it may be "schema.name". */
  readonly table?: string;
  /** Tells barriers of an action apart that changes more than one database. */
  readonly scope?: string;
  /** How long a row stands after it has changed last, in milliseconds: longer than any worker can be suspended. */
  readonly horizon?: number;
  /** How long a saga can take. Absent: not known, and rows of done actions stand until `sagaEnded`. */
  readonly sagaLifetime?: number;
  readonly now?: () => Date;
}

const HORIZON_MS = 30 * 86_400_000;
/** Tries to write or read a row that is removed in between. */
const ARRIVALS_MAX = 3;
/** Tries of a transaction that the database ends because of others at the same time. */
const CONTENTION_TRIES = 3;

/** How user code answered: what is to be thrown once the transaction is committed, or the output to record. */
interface Ran<T> {
  readonly value: T;
  readonly output?: Uint8Array;
}

type Answered<T> = { readonly value: T } | { readonly thrown: Error };

/**
 * ```ts
 * const barrier = new PgBarrier(new pg.Pool());
 * await barrier.createTable();
 * const take = action(
 *   "seats.take",
 *   { barrier: "tombstone" },
 *   barrier.action(async (input: { seat: number }, ctx, db) => { await db.query("UPDATE …"); return input.seat; }),
 *   { undo: barrier.undo(async ({ input, output }, ctx, db) => { await db.query("UPDATE …"); }) },
 * );
 * ```
 *
 * Change nothing but what you reach through `db`, and do not end its transaction.
 */
export class PgBarrier<C extends Connection> {
  private readonly statements: Statements;
  private readonly now: () => Date;

  constructor(
    private readonly pool: Pool<C>,
    private readonly options: BarrierOptions = {},
  ) {
    this.statements = new Statements(options.table ?? "sagaline_barrier");
    this.now = options.now ?? (() => new Date());
    if (!((options.horizon ?? 1) > 0 && (options.sagaLifetime ?? 1) > 0)) {
      throw new BarrierMisuse("horizon and sagaLifetime are positive, and better too long than too short");
    }
  }

  /** Make the table if it is not there. */
  async createTable(): Promise<void> {
    await this.connected(async (db) => {
      for (const statement of schema(this.options.table)) {
        await db.query(statement);
      }
    });
  }

  /** The function of an action, whose change is made once in effect. `output` as in the action's options. */
  action<In extends object, Out>(
    run: (input: In, context: Context, db: C) => Out | Promise<Out>,
    output: Codec<Out> = json<Out>(),
  ): Run<In, Out> {
    return async (input, context) => {
      check(context, "action");
      const arrival = arrivalOf(context, false);
      return this.guard<Out>(context, arrival, {
        code: async (db) => {
          const value = await run(input, context, db);
          return { value, output: Payload.encode(output.encode(value)).finish() };
        },
        recorded: (row) => decoded(row, output),
        nothing: () => {
          throw new BarrierMisuse("an action has an answer");
        },
      });
    };
  }

  /**
   * The function of an undo action, whose change is made once in effect. It runs only where the action's change was made;
   * `output` comes from the record, which knows it even where the SEC does not.
   */
  undo<In extends object, Out>(
    undo: (undoing: Undoing<In, Out> & { readonly output: Out }, context: UndoContext, db: C) => unknown,
    output: Codec<Out> = json<Out>(),
  ): Undo<In, Out> {
    return async ({ input }, context) => {
      check(context, "undo");
      const arrival = arrivalOf(context, context.undo.actionSucceeded);
      return this.guard<null>(context, arrival, {
        code: async (db, row) => {
          await undo({ input, output: decoded(row, output) }, context, db);
          return { value: null };
        },
        recorded: () => null,
        nothing: () => null,
      });
    };
  }

  /** Let the rows of a saga's done actions go once the horizon has passed. */
  async sagaEnded(sagaId: string): Promise<void> {
    await this.connected((db) => this.statements.sagaEnded(db, sagaId, this.later(this.now(), "UNDONE") ?? this.now()));
  }

  /** Remove up to `limit` rows whose time has passed, oldest first; returns how many. */
  async expire(limit = 1_000): Promise<number> {
    return this.connected((db) => this.statements.expire(db, this.now(), limit));
  }

  private async guard<T>(context: Context, arrival: Arrival, sides: Sides<C, T>): Promise<T> {
    const key = { saga: context.sagaId, node: context.node, scope: this.options.scope ?? "" };
    for (let tries = 1; ; tries += 1) {
      try {
        const answered = await this.transaction((db) => this.answer(db, key, arrival, sides));
        if ("thrown" in answered) {
          throw answered.thrown;
        }
        return answered.value;
      } catch (error) {
        if (tries >= CONTENTION_TRIES || !isContention(error)) {
          throw error;
        }
      }
    }
  }

  private async answer<T>(db: C, key: Key, arrival: Arrival, sides: Sides<C, T>): Promise<Answered<T>> {
    const { row, decision, claimed } = await this.arrive(db, key, arrival);
    refuse(decision, key);
    if (decision.answer === "run") {
      return this.run(db, key, arrival, row, decision, sides);
    }
    if (!claimed && decision.to !== undefined) {
      await this.record(db, key, arrival, decision.to);
    } else if (decision.raisesToken) {
      await this.statements.raiseToken(db, key, arrival, this.now());
    }
    if (decision.answer === "failure") {
      return { thrown: recordedFailure(row) };
    }
    return { value: decision.answer === "output" ? sides.recorded(row) : sides.nothing() };
  }

  /** What breaks rolls everything back; a failure of the action takes back what it did, and is recorded. */
  private async run<T>(
    db: C,
    key: Key,
    arrival: Arrival,
    row: Row | undefined,
    { to, onFailed }: Decision,
    { code }: Sides<C, T>,
  ): Promise<Answered<T>> {
    const state = to ?? "DONE";
    if (onFailed === undefined) {
      const { value } = await code(db, row);
      await this.record(db, key, arrival, state);
      return { value };
    }
    await db.query("SAVEPOINT sagaline_barrier");
    let ran: Ran<T>;
    try {
      ran = await code(db, row);
    } catch (error) {
      if (!(error instanceof Failed)) {
        throw error;
      }
      await db.query("ROLLBACK TO SAVEPOINT sagaline_barrier");
      await this.record(db, key, arrival, onFailed, { failure: Failure.encode(told(error)).finish() });
      return { thrown: error };
    }
    await db.query("RELEASE SAVEPOINT sagaline_barrier");
    await this.record(db, key, arrival, state, ran.output === undefined ? {} : { output: ran.output });
    return { value: ran.value };
  }

  /** Write the node's row if it has none, else read it. */
  private async arrive(
    db: C,
    key: Key,
    arrival: Arrival,
  ): Promise<{ row: Row | undefined; decision: Decision; claimed: boolean }> {
    const fresh = decide(undefined, arrival);
    for (let tries = 0; tries < ARRIVALS_MAX; tries += 1) {
      if (fresh.to !== undefined) {
        const at = this.now();
        const recorded = { to: fresh.to, at, expires: this.later(at, fresh.to) };
        if (await this.statements.claim(db, key, arrival, recorded)) {
          return { row: undefined, decision: fresh, claimed: true };
        }
      }
      const row = await this.statements.read(db, key);
      if (row !== undefined || fresh.to === undefined) {
        return { row, decision: decide(row, arrival), claimed: false };
      }
    }
    throw new Retry("sagaline.BarrierBusy", `the record of node ${key.node} is removed again and again`);
  }

  private async record(db: C, key: Key, arrival: Arrival, to: State, what: Partial<Recorded> = {}): Promise<void> {
    const at = this.now();
    await this.statements.record(db, key, arrival, { ...what, to, at, expires: this.later(at, to) });
  }

  /** A done action can be undone as long as its saga lives; nothing else is waited for but late messages. */
  private later(at: Date, to: State): Date | null {
    const horizon = this.options.horizon ?? HORIZON_MS;
    if (to !== "DONE") {
      return new Date(at.getTime() + horizon);
    }
    const lifetime = this.options.sagaLifetime;
    return lifetime === undefined ? null : new Date(at.getTime() + horizon + lifetime);
  }

  private transaction<T>(use: (db: C) => Promise<T>): Promise<T> {
    return this.connected(async (db) => {
      await db.query("BEGIN");
      try {
        const value = await use(db);
        await db.query("COMMIT");
        return value;
      } catch (error) {
        await db.query("ROLLBACK").catch(() => undefined); // a connection that is gone has rolled back
        throw error;
      }
    });
  }

  private async connected<T>(use: (db: C) => Promise<T>): Promise<T> {
    const db = await this.pool.connect();
    let broken: Error | undefined;
    try {
      return await use(db);
    } catch (error) {
      // A connection in doubt goes back to no pool.
      broken = error instanceof Error && !(error instanceof Failed || error instanceof Hold) ? error : undefined;
      throw error;
    } finally {
      db.release(broken);
    }
  }
}

interface Sides<C, T> {
  readonly code: (db: C, row: Row | undefined) => Promise<Ran<T>>;
  readonly recorded: (row: Row | undefined) => T;
  readonly nothing: () => T;
}

function check(context: Context, kind: Context["kind"]): void {
  if (context.kind !== kind) {
    throw new BarrierMisuse(`this guards the ${kind} side, and was called by the other one`);
  }
}

function arrivalOf(context: Context, actionSucceeded: boolean): Arrival {
  const isUndo = context.kind === "undo";
  return { isUndo, token: context.fencingToken, digest: digestOf(context.invocation.inputs), actionSucceeded };
}

function refuse({ answer }: Decision, { node }: Key): void {
  switch (answer) {
    case "suppressed":
      throw new Suppressed("sagaline.Suppressed", `node ${node} was undone before this attempt of its action arrived`);
    case "stale":
      throw new StaleToken("sagaline.StaleToken", `a later attempt of node ${node} was here`);
    case "mismatch":
      throw new InputMismatch("sagaline.InputMismatch", `node ${node} is on record with other inputs than these`);
    case "notRecorded":
      throw new NotRecorded(
        "sagaline.NotRecorded",
        `the action of node ${node} succeeded, and no effect of it is on record here`,
      );
    default:
  }
}

function decoded<Out>(row: Row | undefined, codec: Codec<Out>): Out {
  if (row?.output == null) {
    throw new BarrierMisuse("the output is not on record: the action's code ended the barrier's transaction itself");
  }
  return codec.decode(Payload.decode(row.output));
}

function recordedFailure(row: Row | undefined): Failed {
  const { type, message, details } = Failure.decode(row?.failure ?? new Uint8Array());
  const values = details.flatMap((detail) => (detail.value?.$case === "json" ? [decodeJson(detail) as JsonValue] : []));
  return new Failed(type, message, values);
}

/** Whether the database ended a transaction because of others: serialization failure, or deadlock. */
function isContention(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "40001" || code === "40P01";
}
