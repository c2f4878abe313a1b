package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	sagaline "sagaline.dev/sdk/go"
	"sagaline.dev/sdk/go/barrier"
)

// database is the PostgreSQL that tests/integration/go_sdk has started.
func database(t *testing.T) (*sql.DB, *barrier.Barrier) {
	t.Helper()
	if os.Getenv("PGHOST") == "" {
		t.Skip("PGHOST names no PostgreSQL: tests/integration/go_sdk starts one and runs this")
	}
	db, err := sql.Open("pgx", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	guard, err := barrier.New(db, barrier.PostgreSQL, barrier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := prepare(context.Background(), db, guard); err != nil {
		t.Fatal(err)
	}
	return db, guard
}

func at(saga string, isUndo bool, token int64) context.Context {
	info := &sagaline.Info{SagaID: saga, Node: "hotel", IsUndo: isUndo, FencingToken: token}
	return sagaline.WithInfo(context.Background(), info)
}

func counts(t *testing.T, db *sql.DB, saga string) (bookings, booked, released int) {
	t.Helper()
	row := db.QueryRow(`SELECT (SELECT count(*) FROM bookings WHERE saga = $1),
		(SELECT count(*) FROM effects WHERE saga = $1 AND what = 'booked'),
		(SELECT count(*) FROM effects WHERE saga = $1 AND what = 'released')`, saga)
	if err := row.Scan(&bookings, &booked, &released); err != nil {
		t.Fatal(err)
	}
	return bookings, booked, released
}

func TestManyArrivalsAtOnceMakeOneBooking(t *testing.T) {
	db, guard := database(t)
	take, free := barrier.Action(guard, book), barrier.Undo(guard, release)
	saga := fmt.Sprint("race-", time.Now().UnixNano())
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if room, err := take(at(saga, false, 5), booking{Item: "room"}); err != nil || room != "room@hotel" {
				t.Errorf("got %q, %v", room, err)
			}
		})
	}
	wg.Wait()
	if bookings, booked, _ := counts(t, db, saga); bookings != 1 || booked != 1 {
		t.Fatalf("%d bookings, booked %d times", bookings, booked)
	}
	for range 6 {
		wg.Go(func() {
			if err := free(at(saga, true, 6), sagaline.Undo[booking, string]{Known: true}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			_, err := take(at(saga, false, 5), booking{Item: "room"})
			if err != nil && !errors.Is(err, barrier.ErrSuppressed) && !errors.Is(err, barrier.ErrStaleToken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if bookings, booked, released := counts(t, db, saga); bookings != 0 || booked != 1 || released != 1 {
		t.Fatalf("%d bookings, booked %d times, released %d times", bookings, booked, released)
	}
}

func TestAFailureIsCommittedAndStays(t *testing.T) {
	db, guard := database(t)
	saga := fmt.Sprint("failed-", time.Now().UnixNano())
	runs := 0
	take := barrier.Action(guard, func(ctx context.Context, tx *sql.Tx, in booking) (string, error) {
		runs++
		if _, err := book(ctx, tx, in); err != nil {
			return "", err
		}
		return "", sagaline.Failed("SoldOut", "no room is left")
	})
	for token := range int64(2) {
		if _, err := take(at(saga, false, token+1), booking{}); !errors.Is(err, sagaline.Failed("SoldOut", "")) {
			t.Fatalf("got %v", err)
		}
	}
	if bookings, booked, _ := counts(t, db, saga); runs != 1 || bookings != 0 || booked != 0 {
		t.Fatalf("%d runs, %d bookings, booked %d times", runs, bookings, booked)
	}
	if n, err := guard.Expire(context.Background(), 10); n != 0 || err != nil {
		t.Fatalf("%d rows went, %v", n, err)
	}
}

func TestAnUndoThatComesFirstLeavesATombstone(t *testing.T) {
	db, guard := database(t)
	saga := fmt.Sprint("late-", time.Now().UnixNano())
	if err := barrier.Undo(guard, release)(at(saga, true, 9), sagaline.Undo[booking, string]{}); err != nil {
		t.Fatal(err)
	}
	if _, err := barrier.Action(guard, book)(at(saga, false, 8), booking{}); !errors.Is(err, barrier.ErrSuppressed) {
		t.Fatalf("got %v", err)
	}
	if bookings, booked, released := counts(t, db, saga); bookings+booked+released != 0 {
		t.Fatalf("%d bookings, booked %d times, released %d times", bookings, booked, released)
	}
}
