// Package barrier makes one effect of everything that may arrive for a node: attempts that come again, come late, come
// after their undo, or never came. It works inside your own database transaction, with one row for each node that is
// written together with the change your action makes, and shares its table with the barriers of the other SDKs.
//
//   - The change is made at most once, and its undo's too, whatever arrives, however often and in whatever order.
//   - A repetition is answered with what the first one answered, and your code does not run.
//   - A failure stays a failure.
//   - Undo wins: once a node is undone, an action that arrives later never runs.
//   - What an older attempt would change after a younger one is refused, by fencing token.
//
// docs/barrier.md says what it asks of you, and how long rows stand. Change nothing but what you reach through the
// transaction that you are given, and do not end it. For SQLite open the database with a busy timeout.
package barrier

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	sagaline "sagaline.dev/sdk/go"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Refusals, as errors that actions and undo actions return; compare with errors.Is.
var (
	// ErrSuppressed: the node was undone before this action arrived. It counts as failed, for nothing of it stands.
	ErrSuppressed = sagaline.Failed("sagaline.Suppressed", "the node was undone before this attempt of its action arrived")
	// ErrStaleToken: a later attempt has been here, and this one can't know what that did.
	ErrStaleToken = sagaline.Retry("sagaline.StaleToken", "a later attempt of the node was here", 0)
	// ErrInputMismatch: the node is on record with other inputs.
	ErrInputMismatch = sagaline.Hold("sagaline.InputMismatch", "the node is on record with other inputs than these")
	// ErrNotRecorded: the SEC knows that the action succeeded, and no effect of it is on record.
	ErrNotRecorded = sagaline.Hold("sagaline.NotRecorded",
		"the action succeeded, and no effect of it is on record here: the record expired, or this is not the database that it changed")
)

const (
	defaultHorizon  = 30 * 24 * time.Hour
	arrivalsMax     = 3 // tries to write or read a row that is removed in between
	contentionTries = 3 // of a transaction that the database ends because of others at the same time
)

// Options of a barrier; zero values are the defaults.
type Options struct {
	// Table is "sagaline_barrier" if empty; it may be "schema.name".
	Table string
	// Scope tells barriers of an action apart that changes more than one database.
	Scope string
	// Horizon is how long a row stands after it has changed last, so that it outlives every message that could still
	// arrive: more than the longest time for which a worker can be suspended. 0: 30 days.
	Horizon time.Duration
	// SagaLifetime is how long a saga can take, waiting for operators included. 0: not known, and rows of done actions
	// stand until SagaEnded.
	SagaLifetime time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Barrier guards the actions of one database.
type Barrier struct {
	db      *sql.DB
	sql     statements
	options Options
}

// New makes a barrier. The table has to be there: see Schema and CreateTable.
func New(db *sql.DB, dialect Dialect, options Options) (*Barrier, error) {
	options.Table = cmp.Or(options.Table, DefaultTable)
	options.Horizon = cmp.Or(options.Horizon, defaultHorizon)
	if options.Now == nil {
		options.Now = time.Now
	}
	if _, err := Schema(dialect, options.Table); err != nil {
		return nil, err
	}
	if options.Horizon < 0 || options.SagaLifetime < 0 {
		return nil, errors.New("barrier: Horizon and SagaLifetime are positive, and better too long than too short")
	}
	return &Barrier{db, statements{dialect, options.Table}, options}, nil
}

// CreateTable makes the table if it is not there.
func (b *Barrier) CreateTable(ctx context.Context) error {
	schema, err := Schema(b.sql.dialect, b.options.Table)
	if err != nil {
		return err
	}
	for _, statement := range schema {
		if _, err := b.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// SagaEnded lets the rows of a saga's done actions go once the horizon has passed.
func (b *Barrier) SagaEnded(ctx context.Context, sagaID string) error {
	return b.sql.sagaEnded(ctx, b.db, sagaID, b.options.Now().Add(b.options.Horizon))
}

// Expire removes up to limit rows whose time has passed, oldest first, and says how many.
func (b *Barrier) Expire(ctx context.Context, limit int) (int64, error) {
	return b.sql.expire(ctx, b.db, b.options.Now(), limit)
}

// Action gives the function of an action whose change is made once in effect. What run changes it changes through tx. An
// error for which [sagaline.Failed] is found takes back what it did and is recorded; every other rolls back all.
func Action[In, Out any](b *Barrier, run func(ctx context.Context, tx *sql.Tx, in In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (out Out, err error) {
		recorded, err := b.guard(ctx, false, false, func(tx *sql.Tx, _ []byte) ([]byte, error) {
			if out, err = run(ctx, tx, in); err != nil {
				return nil, err
			}
			payload, err := sagaline.EncodePayload(out)
			if err != nil {
				return nil, err
			}
			return proto.MarshalOptions{Deterministic: true}.Marshal(payload)
		})
		if err == nil && recorded != nil {
			err = decodeOutput(recorded, &out)
		}
		return out, err
	}
}

// Undo gives the function of an undo action whose change is made once in effect. It runs only where the action's change
// was made; Output and Known come from the record, which knows them even where the SEC does not.
func Undo[In, Out any](b *Barrier, undo func(ctx context.Context, tx *sql.Tx, u sagaline.Undo[In, Out]) error) func(context.Context, sagaline.Undo[In, Out]) error {
	return func(ctx context.Context, u sagaline.Undo[In, Out]) error {
		_, err := b.guard(ctx, true, u.Known, func(tx *sql.Tx, recorded []byte) ([]byte, error) {
			if err := decodeOutput(recorded, &u.Output); err != nil {
				return nil, err
			}
			u.Known = true
			return nil, undo(ctx, tx, u)
		})
		return err
	}
}

func decodeOutput(recorded []byte, into any) error {
	if recorded == nil {
		return errors.New("barrier: the action's output is not on record: its code ended the barrier's transaction itself")
	}
	var payload pb.Payload
	if err := proto.Unmarshal(recorded, &payload); err != nil {
		return err
	}
	return sagaline.DecodePayload(&payload, into)
}

// guarded is user code: it gets the recorded output, and gives the one to record.
type guarded func(tx *sql.Tx, recorded []byte) ([]byte, error)

// guard gives the recorded output of an action that does not run.
func (b *Barrier) guard(ctx context.Context, isUndo, actionSucceeded bool, code guarded) (recorded []byte, err error) {
	info := sagaline.InfoFrom(ctx)
	if info == nil || info.IsUndo != isUndo {
		return nil, errors.New("barrier: this is not the context of the action (or undo action) that it guards")
	}
	k := key{info.SagaID, info.Node, b.options.Scope}
	a := arrival{isUndo, info.FencingToken, digest(info.Inputs()), actionSucceeded}
	for try := 1; ; try++ {
		recorded, err = b.transact(ctx, k, a, code)
		if err == nil || try == contentionTries || !contended(err) {
			return recorded, err
		}
	}
}

// contended says whether the database ended a transaction because of others: serialization failure, or deadlock.
func contended(err error) bool {
	var told interface{ SQLState() string }
	return errors.As(err, &told) && (told.SQLState() == "40001" || told.SQLState() == "40P01")
}

func (b *Barrier) transact(ctx context.Context, k key, a arrival, code guarded) ([]byte, error) {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it says so, and before one there is nothing to save
	r, d, err := b.arrive(ctx, tx, k, a)
	if err != nil {
		return nil, err
	}
	var answered error
	var recorded []byte
	switch d.answer {
	case run:
		answered, err = b.runCode(ctx, tx, k, a, r, d, code)
	case output:
		if recorded = r.output; recorded == nil {
			err = decodeOutput(nil, nil)
		}
	case failure:
		answered, err = recordedFailure(r.failure)
	}
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return recorded, answered
}

// runCode runs user code; what it answers with is returned apart from what broke, which rolls everything back.
func (b *Barrier) runCode(ctx context.Context, tx *sql.Tx, k key, a arrival, r row, d decision, code guarded) (answered, broke error) {
	if d.onFailed == "" {
		if _, err := code(tx, r.output); err != nil {
			return nil, err
		}
		return nil, b.record(ctx, tx, k, a, d.to, nil, nil)
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT sagaline_barrier"); err != nil {
		return nil, err
	}
	out, err := code(tx, nil)
	var outcome *sagaline.Outcome
	if err != nil && (!errors.As(err, &outcome) || outcome.Kind != sagaline.KindFailed) {
		return nil, err
	}
	if err != nil {
		if _, broke := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT sagaline_barrier"); broke != nil {
			return nil, broke
		}
		told, broke := proto.MarshalOptions{Deterministic: true}.Marshal(sagaline.FailureOf(outcome))
		if broke != nil {
			return nil, broke
		}
		return err, b.record(ctx, tx, k, a, d.onFailed, nil, told)
	}
	if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT sagaline_barrier"); err != nil {
		return nil, err
	}
	return nil, b.record(ctx, tx, k, a, d.to, out, nil)
}

func recordedFailure(data []byte) (answered, broke error) {
	var failure pb.Failure
	if err := proto.Unmarshal(data, &failure); err != nil {
		return nil, err
	}
	outcome := sagaline.Failed(failure.GetType(), failure.GetMessage())
	for _, detail := range failure.GetDetails() {
		outcome.Details = append(outcome.Details, detail)
	}
	return outcome, nil
}

// arrive writes the node's row if it has none, else reads it; and records what needs no user code.
func (b *Barrier) arrive(ctx context.Context, tx *sql.Tx, k key, a arrival) (row, decision, error) {
	r, d, claimed, err := b.find(ctx, tx, k, a)
	if err != nil {
		return r, d, err
	}
	switch d.answer {
	case suppressed:
		return r, d, ErrSuppressed
	case stale:
		return r, d, ErrStaleToken
	case mismatch:
		return r, d, ErrInputMismatch
	case notRecorded:
		return r, d, ErrNotRecorded
	}
	if !claimed && d.answer != run {
		if d.to != "" {
			err = b.record(ctx, tx, k, a, d.to, nil, nil)
		} else if d.raisesToken {
			err = b.sql.raiseToken(ctx, tx, k, a, b.options.Now())
		}
	}
	return r, d, err
}

func (b *Barrier) find(ctx context.Context, tx *sql.Tx, k key, a arrival) (r row, d decision, claimed bool, err error) {
	fresh := decide(row{}, a)
	for range arrivalsMax {
		if fresh.to != "" {
			at := b.options.Now()
			if claimed, err = b.sql.claim(ctx, tx, k, a, fresh.to, at, b.expires(fresh.to, at)); err != nil || claimed {
				return r, fresh, claimed, err
			}
		} else if err = b.sql.lock(ctx, tx, k); err != nil {
			return r, d, false, err
		}
		r, there, err := b.sql.read(ctx, tx, k)
		if err != nil {
			return r, d, false, err
		}
		if there {
			return r, decide(r, a), false, nil
		}
		if fresh.to == "" {
			return r, fresh, false, nil
		}
	}
	return r, d, false, sagaline.Retry("sagaline.BarrierBusy", fmt.Sprintf("the record of node %s of saga %s is removed again and again", k.node, k.saga), 0)
}

func (b *Barrier) record(ctx context.Context, tx *sql.Tx, k key, a arrival, to state, output, failure []byte) error {
	at := b.options.Now()
	return b.sql.record(ctx, tx, k, a, to, output, failure, at, b.expires(to, at))
}

// expires: a done action can be undone as long as its saga lives; nothing else is waited for but late messages.
func (b *Barrier) expires(to state, at time.Time) *time.Time {
	at = at.Add(b.options.Horizon)
	if to == done {
		if b.options.SagaLifetime == 0 {
			return nil
		}
		at = at.Add(b.options.SagaLifetime)
	}
	return &at
}

// digest is the SHA-256 of a node's inputs, the same in every language: for each input in the order of its name's bytes
// the name; "json" and the text, or "data", the encoding and the data; the number of metadata as 8 bytes; each key and
// its text, by key. Each of these is preceded by its length. Lengths and numbers are 8 bytes, big-endian.
func digest(inputs map[string]*pb.Payload) []byte {
	hash := sha256.New()
	number := func(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	add := func(part []byte) {
		hash.Write(number(len(part)))
		hash.Write(part)
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		payload := inputs[name]
		add([]byte(name))
		switch value := payload.GetValue().(type) {
		case *pb.Payload_Data:
			add([]byte("data"))
			add([]byte(payload.GetEncoding()))
			add(value.Data)
		case *pb.Payload_Json:
			add([]byte("json"))
			add([]byte(value.Json))
		default:
			add([]byte("json"))
			add([]byte("null"))
		}
		add(number(len(payload.GetMetadata())))
		for _, key := range slices.Sorted(maps.Keys(payload.GetMetadata())) {
			add([]byte(key))
			add([]byte(payload.GetMetadata()[key]))
		}
	}
	return hash.Sum(nil)
}
