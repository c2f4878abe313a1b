package barrier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Dialect is a database that a barrier works in.
type Dialect int

// The databases.
const (
	SQLite Dialect = iota
	PostgreSQL
)

// DefaultTable is the table's name unless another is given.
const DefaultTable = "sagaline_barrier"

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}(\.[A-Za-z_][A-Za-z0-9_]{0,47})?$`)

const tableDDL = `CREATE TABLE IF NOT EXISTS %s (
  saga_id        text NOT NULL,
  node           text NOT NULL,
  scope          text NOT NULL DEFAULT '',  -- which of several databases that one action changes
  state          text NOT NULL CHECK (state IN ('DONE', 'FAILED', 'UNDONE', 'CANCELLED')),
  fencing_token  %s NOT NULL,  -- highest that was let in
  input_digest   %s NOT NULL,  -- SHA-256 of the action's inputs
  output         %[3]s,  -- sagaline.v1.Payload, of DONE and UNDONE
  failure        %[3]s,  -- sagaline.v1.Failure, of FAILED
  created_at     %[4]s NOT NULL,
  updated_at     %[4]s NOT NULL,
  expires_at     %[4]s,  -- when the row may be removed, NULL while its saga may need it
  PRIMARY KEY (saga_id, node, scope)
)%[5]s`

// Schema gives the statements that make a barrier's table, for migrations.
func Schema(dialect Dialect, table string) ([]string, error) {
	if !identifier.MatchString(table) {
		return nil, fmt.Errorf("barrier: %q can't be the name of a table: give [schema.]name, letters and digits", table)
	}
	home, name := "", table
	if dot := strings.Index(table, "."); dot >= 0 {
		home, name = table[:dot+1], table[dot+1:]
	}
	const index = "CREATE INDEX IF NOT EXISTS %s_expires_at ON %s (expires_at) WHERE expires_at IS NOT NULL"
	if dialect == PostgreSQL {
		return []string{
			fmt.Sprintf(tableDDL, table, "bigint", "bytea", "timestamptz", ""),
			fmt.Sprintf(index, name, table),
		}, nil
	}
	// An index is where its table is: SQLite wants that said of the index, PostgreSQL of the table.
	return []string{
		fmt.Sprintf(tableDDL, table, "INTEGER", "BLOB", "TEXT", " WITHOUT ROWID"),
		fmt.Sprintf(index, home+name, name),
	}, nil
}

// key names a row: by saga and node alone, so that every attempt has the same one.
type key struct{ saga, node, scope string }

// statements are those of one table. Nothing here decides anything.
type statements struct {
	dialect Dialect
	table   string
}

const whereKey = " WHERE saga_id = ? AND node = ? AND scope = ?"

// exec runs a statement whose parameters are written "?", and gives the number of rows.
func (s statements) exec(ctx context.Context, tx execer, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, s.numbered(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (s statements) numbered(query string) string {
	query = strings.ReplaceAll(query, "TABLE_", s.table)
	if s.dialect == SQLite {
		return query
	}
	var text strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			text.WriteString("$" + strconv.Itoa(i))
		}
		text.WriteString(part)
	}
	return text.String()
}

// claim writes the node's row if it has none: of several that try one succeeds, and the others wait for its end.
func (s statements) claim(ctx context.Context, tx *sql.Tx, k key, a arrival, to state, at time.Time, expires *time.Time) (bool, error) {
	n, err := s.exec(ctx, tx, "INSERT INTO TABLE_ (saga_id, node, scope, state, fencing_token, input_digest,"+
		" created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (saga_id, node, scope) DO NOTHING",
		k.saga, k.node, k.scope, string(to), a.token, a.digest, s.time(&at), s.time(&at), s.time(expires))
	return n == 1, err
}

// lock keeps others from writing the row, where reading does not.
func (s statements) lock(ctx context.Context, tx *sql.Tx, k key) error {
	if s.dialect == PostgreSQL {
		return nil
	}
	_, err := s.exec(ctx, tx, "UPDATE TABLE_ SET scope = scope"+whereKey, k.saga, k.node, k.scope)
	return err
}

func (s statements) read(ctx context.Context, tx *sql.Tx, k key) (r row, there bool, err error) {
	query := "SELECT state, fencing_token, input_digest, output, failure FROM TABLE_" + whereKey
	if s.dialect == PostgreSQL {
		query += " FOR UPDATE"
	}
	err = tx.QueryRowContext(ctx, s.numbered(query), k.saga, k.node, k.scope).
		Scan((*string)(&r.state), &r.token, &r.digest, &r.output, &r.failure)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

func (s statements) record(ctx context.Context, tx *sql.Tx, k key, a arrival, to state, output, failure []byte, at time.Time, expires *time.Time) error {
	_, err := s.exec(ctx, tx, "UPDATE TABLE_ SET state = ?, fencing_token = ?, output = coalesce(?, output),"+
		" failure = coalesce(?, failure), updated_at = ?, expires_at = ?"+whereKey,
		string(to), a.token, nullable(output), nullable(failure), s.time(&at), s.time(expires), k.saga, k.node, k.scope)
	return err
}

// nullable: a nil slice in an interface is not NULL for every driver.
func nullable(data []byte) any {
	if data == nil {
		return nil
	}
	return data
}

func (s statements) raiseToken(ctx context.Context, tx *sql.Tx, k key, a arrival, at time.Time) error {
	_, err := s.exec(ctx, tx, "UPDATE TABLE_ SET fencing_token = ?, updated_at = ?"+whereKey, a.token, s.time(&at), k.saga, k.node, k.scope)
	return err
}

func (s statements) expire(ctx context.Context, db execer, before time.Time, limit int) (int64, error) {
	due := "FROM TABLE_ WHERE expires_at < ? ORDER BY expires_at LIMIT ?"
	query := "DELETE FROM TABLE_ WHERE (saga_id, node, scope) IN (SELECT saga_id, node, scope " + due + ")"
	if s.dialect == PostgreSQL {
		// An array, because a subquery with a LIMIT may be run more than once.
		query = "DELETE FROM TABLE_ WHERE ctid = ANY (ARRAY(SELECT ctid " + due + " FOR UPDATE SKIP LOCKED))"
	}
	return s.exec(ctx, db, query, s.time(&before), limit)
}

func (s statements) sagaEnded(ctx context.Context, db execer, saga string, expires time.Time) error {
	_, err := s.exec(ctx, db, "UPDATE TABLE_ SET expires_at = ? WHERE saga_id = ? AND expires_at IS NULL", s.time(&expires), saga)
	return err
}

// time: SQLite has no type for times, so they are text that sorts as the times do.
func (s statements) time(at *time.Time) any {
	switch {
	case at == nil:
		return nil
	case s.dialect == PostgreSQL:
		return at.UTC()
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000-07:00")
}
