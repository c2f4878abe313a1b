/** The statements of a barrier's table on PostgreSQL. Nothing here decides anything. */

import { DefinitionError } from "../errors.js";
import type { Arrival, Row, State } from "./machine.js";

/** What the barrier needs of a connection: `pg`'s clients have it. */
export interface Connection {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }>;
}

/** Names a row: by saga and node alone, so that every attempt has the same one. */
export interface Key {
  readonly saga: string;
  readonly node: string;
  readonly scope: string;
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,47}(\.[A-Za-z_][A-Za-z0-9_]{0,47})?$/;
const WHERE_KEY = "WHERE saga_id = $1 AND node = $2 AND scope = $3";

/** The statements that make a barrier's table, for migrations. */
export function schema(table = "sagaline_barrier"): string[] {
  if (!IDENTIFIER.test(table)) {
    throw new DefinitionError(`${JSON.stringify(table)} can't be the name of a table: give [schema.]name`);
  }
  const name = table.slice(table.indexOf(".") + 1);
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
  saga_id        text NOT NULL,
  node           text NOT NULL,
  scope          text NOT NULL DEFAULT '',  -- which of several databases that one action changes
  state          text NOT NULL CHECK (state IN ('DONE', 'FAILED', 'UNDONE', 'CANCELLED')),
  fencing_token  bigint NOT NULL,  -- highest that was let in
  input_digest   bytea NOT NULL,  -- SHA-256 of the action's inputs
  output         bytea,  -- sagaline.v1.Payload, of DONE and UNDONE
  failure        bytea,  -- sagaline.v1.Failure, of FAILED
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  expires_at     timestamptz,  -- when the row may be removed, NULL while its saga may need it
  PRIMARY KEY (saga_id, node, scope)
)`,
    `CREATE INDEX IF NOT EXISTS ${name}_expires_at ON ${table} (expires_at) WHERE expires_at IS NOT NULL`,
  ];
}

interface Stored {
  readonly state: State;
  readonly fencing_token: string;
  readonly input_digest: Buffer;
  readonly output: Buffer | null;
  readonly failure: Buffer | null;
}

export interface Recorded {
  readonly to: State;
  readonly output?: Uint8Array;
  readonly failure?: Uint8Array;
  readonly at: Date;
  readonly expires: Date | null;
}

export class Statements {
  constructor(private readonly table: string) {
    schema(table); // refuses a name that can't be one
  }

  /** Write the node's row if it has none: of several that try one succeeds, and the others wait for its end. */
  async claim(db: Connection, key: Key, arrival: Arrival, { to, at, expires }: Recorded): Promise<boolean> {
    const { rowCount } = await db.query(
      `INSERT INTO ${this.table} (saga_id, node, scope, state, fencing_token, input_digest, created_at, updated_at,
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (saga_id, node, scope) DO NOTHING`,
      [key.saga, key.node, key.scope, to, String(arrival.token), arrival.digest, at, expires],
    );
    return rowCount === 1;
  }

  /** The node's row, which nobody else can change until the transaction ends. */
  async read(db: Connection, key: Key): Promise<Row | undefined> {
    const { rows } = await db.query(
      `SELECT state, fencing_token, input_digest, output, failure FROM ${this.table} ${WHERE_KEY} FOR UPDATE`,
      [key.saga, key.node, key.scope],
    );
    const row = rows[0] as Stored | undefined;
    return (
      row && {
        state: row.state,
        token: BigInt(row.fencing_token),
        digest: row.input_digest,
        output: row.output,
        failure: row.failure,
      }
    );
  }

  async record(db: Connection, key: Key, arrival: Arrival, recorded: Recorded): Promise<void> {
    await db.query(
      `UPDATE ${this.table} SET state = $4, fencing_token = $5, output = coalesce($6, output),
         failure = coalesce($7, failure), updated_at = $8, expires_at = $9 ${WHERE_KEY}`,
      [
        key.saga,
        key.node,
        key.scope,
        recorded.to,
        String(arrival.token),
        recorded.output ?? null,
        recorded.failure ?? null,
        recorded.at,
        recorded.expires,
      ],
    );
  }

  async raiseToken(db: Connection, key: Key, arrival: Arrival, at: Date): Promise<void> {
    await db.query(`UPDATE ${this.table} SET fencing_token = $4, updated_at = $5 ${WHERE_KEY}`, [
      key.saga,
      key.node,
      key.scope,
      String(arrival.token),
      at,
    ]);
  }

  async sagaEnded(db: Connection, sagaId: string, expires: Date): Promise<void> {
    await db.query(`UPDATE ${this.table} SET expires_at = $2 WHERE saga_id = $1 AND expires_at IS NULL`, [
      sagaId,
      expires,
    ]);
  }

  async expire(db: Connection, before: Date, limit: number): Promise<number> {
    // An array, because a subquery with a LIMIT may be run more than once.
    const { rowCount } = await db.query(
      `DELETE FROM ${this.table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${this.table} WHERE expires_at < $1
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`,
      [before, limit],
    );
    return rowCount ?? 0;
  }
}
