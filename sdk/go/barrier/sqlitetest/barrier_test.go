package sqlitetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	sagaline "sagaline.dev/sdk/go"
	"sagaline.dev/sdk/go/barrier"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seats.db")
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(120000)&_pragma=synchronous(off)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec("CREATE TABLE effects (saga TEXT, change INTEGER)"); err != nil {
		t.Fatal(err)
	}
	return db
}

func guard(t *testing.T, db *sql.DB, options barrier.Options) *barrier.Barrier {
	t.Helper()
	b, err := barrier.New(db, barrier.SQLite, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTable(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

// hotel is a service whose action answers as the test says.
type hotel struct {
	t        *testing.T
	db       *sql.DB
	book     func(context.Context, string) (int, error)
	free     func(context.Context, sagaline.Undo[string, int]) error
	answer   error
	runs     int
	undoRuns int
}

func newHotel(t *testing.T, db *sql.DB, options barrier.Options) *hotel {
	h := &hotel{t: t, db: db}
	b := guard(t, db, options)
	h.book = barrier.Action(b, func(ctx context.Context, tx *sql.Tx, guest string) (int, error) {
		h.runs++
		if _, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?, 1)", sagaline.InfoFrom(ctx).SagaID); err != nil {
			return 0, err
		}
		return 17, h.answer
	})
	h.free = barrier.Undo(b, func(ctx context.Context, tx *sql.Tx, u sagaline.Undo[string, int]) error {
		h.undoRuns++
		if u.Output != 17 || !u.Known {
			t.Errorf("the undo action was given %+v", u)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?, -1)", sagaline.InfoFrom(ctx).SagaID)
		return err
	})
	return h
}

func at(saga string, isUndo bool, token int64) context.Context {
	payload, err := sagaline.EncodePayload("Ada")
	if err != nil {
		panic(err)
	}
	info := &sagaline.Info{SagaID: saga, Node: "book", IsUndo: isUndo, FencingToken: token}
	return sagaline.WithInfo(context.Background(), info.WithInputs(map[string]*sagaline.Payload{"guest": payload}))
}

func (h *hotel) effect(saga string) (effect int) {
	h.t.Helper()
	row := h.db.QueryRow("SELECT coalesce(sum(change), 0) FROM effects WHERE saga = ?", saga)
	if err := row.Scan(&effect); err != nil {
		h.t.Fatal(err)
	}
	return effect
}

// arrivals are what can reach a node: attempts of its action that succeed, fail or break, and of its undo action, each
// with a token that is fresh or older than one that was here.
var arrivals = []string{"done", "failed", "broken", "undo", "old action", "old undo"}

// TestEveryOrderOfArrivals runs all sequences of four against what must hold after each arrival.
func TestEveryOrderOfArrivals(t *testing.T) {
	db := open(t)
	h := newHotel(t, db, barrier.Options{})
	const length = 4
	total := 1
	for range length {
		total *= len(arrivals)
	}
	for n := range total {
		var sequence []string
		for rest, i := n, 0; i < length; i, rest = i+1, rest/len(arrivals) {
			sequence = append(sequence, arrivals[rest%len(arrivals)])
		}
		play(t, h, fmt.Sprintf("saga-%d", n), sequence)
	}
}

func play(t *testing.T, h *hotel, saga string, sequence []string) {
	t.Helper()
	h.runs, h.undoRuns = 0, 0
	var undone, answered bool
	var token int64 = 10
	for _, arrival := range sequence {
		token++
		isUndo, used := arrival == "undo" || arrival == "old undo", token
		if arrival == "old action" || arrival == "old undo" {
			used = 1
		}
		h.answer = nil
		switch arrival {
		case "failed":
			h.answer = fmt.Errorf("asked: %w", sagaline.Failed("Full", "no room"))
		case "broken":
			h.answer = errors.New("the line is dead")
		}
		if isUndo {
			err := h.free(at(saga, true, used), sagaline.Undo[string, int]{Input: "Ada"})
			undone = undone || err == nil
			if err != nil && !errors.Is(err, barrier.ErrStaleToken) {
				t.Fatalf("%v: %s: %v", sequence, arrival, err)
			}
		} else if room, err := h.book(at(saga, false, used), "Ada"); err == nil {
			answered = true
			if room != 17 || undone {
				t.Fatalf("%v: %s gave room %d, undone: %v", sequence, arrival, room, undone)
			}
		} else if undone && !errors.Is(err, barrier.ErrSuppressed) {
			t.Fatalf("%v: after the undo an action was answered %v", sequence, err)
		}
		effect := h.effect(saga)
		if undone && effect != 0 || !undone && answered && effect != 1 || effect < 0 || effect > 1 {
			t.Fatalf("%v: after %s the effect is %d (undone: %v, answered: %v)", sequence, arrival, effect, undone, answered)
		}
	}
	if h.undoRuns > 1 {
		t.Fatalf("%v: the undo action ran %d times", sequence, h.undoRuns)
	}
}

func TestAnswersAreRepeated(t *testing.T) {
	h := newHotel(t, open(t), barrier.Options{})
	h.answer = sagaline.Failed("Full", "no room").WithDetails("floor 3")
	for token := range int64(2) {
		_, err := h.book(at("full", false, token+1), "Ada")
		if !errors.Is(err, sagaline.Failed("Full", "")) {
			t.Fatalf("got %v", err)
		}
	}
	if h.runs != 1 || h.effect("full") != 0 {
		t.Fatalf("%d runs, effect %d", h.runs, h.effect("full"))
	}
	other := sagaline.InfoFrom(at("full", false, 9)).WithInputs(nil)
	if _, err := h.book(sagaline.WithInfo(context.Background(), other), "Bob"); !errors.Is(err, barrier.ErrInputMismatch) {
		t.Fatalf("got %v", err)
	}
	if err := h.free(at("never", true, 1), sagaline.Undo[string, int]{Known: true}); !errors.Is(err, barrier.ErrNotRecorded) {
		t.Fatalf("got %v", err)
	}
}

func TestManyAtOnceAreOne(t *testing.T) {
	h := newHotel(t, open(t), barrier.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if room, err := h.book(at("one", false, 5), "Ada"); err != nil || room != 17 {
				t.Errorf("got %d, %v", room, err)
			}
		})
	}
	wg.Wait()
	if h.runs != 1 || h.effect("one") != 1 {
		t.Fatalf("%d runs, effect %d", h.runs, h.effect("one"))
	}
}

func TestRowsStandUntilTheHorizon(t *testing.T) {
	ctx := context.Background()
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	db := open(t)
	b := guard(t, db, barrier.Options{Table: "rows_of_it", Horizon: time.Hour, Now: func() time.Time { return clock }})
	book := barrier.Action(b, func(context.Context, *sql.Tx, string) (int, error) { return 1, nil })
	free := barrier.Undo(b, func(context.Context, *sql.Tx, sagaline.Undo[string, int]) error { return nil })
	for _, saga := range []string{"a", "b"} {
		if _, err := book(at(saga, false, 1), "Ada"); err != nil {
			t.Fatal(err)
		}
	}
	if err := free(at("c", true, 1), sagaline.Undo[string, int]{}); err != nil {
		t.Fatal(err)
	}
	expire := func(want int64) {
		t.Helper()
		if n, err := b.Expire(ctx, 100); err != nil || n != want {
			t.Fatalf("%d rows went, %v", n, err)
		}
	}
	expire(0)
	clock = clock.Add(2 * time.Hour)
	expire(1) // the tombstone; done actions may still be undone
	if err := b.SagaEnded(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	expire(0)
	clock = clock.Add(2 * time.Hour)
	expire(1)
}
