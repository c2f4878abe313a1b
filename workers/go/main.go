// Command polyglot-worker serves the hotel of the polyglot trip: workers/README.md says what that is.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strconv"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	sagaline "sagaline.dev/sdk/go"
	"sagaline.dev/sdk/go/barrier"
)

const slowTime = 300 * time.Millisecond

var tables = []string{
	"CREATE TABLE IF NOT EXISTS bookings (saga text PRIMARY KEY, item text NOT NULL)",
	"CREATE TABLE IF NOT EXISTS effects (number bigserial PRIMARY KEY, saga text NOT NULL, what text NOT NULL)",
}

type booking struct {
	Item    string `json:"item"`
	Trouble string `json:"trouble"`
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	slots, err := strconv.Atoi(os.Getenv("SAGALINE_SLOTS"))
	if err != nil {
		return fmt.Errorf("SAGALINE_SLOTS: %w", err)
	}
	db, err := sql.Open("pgx", "") // as PGHOST, PGPORT, PGUSER and PGDATABASE say
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(slots)
	db.SetMaxIdleConns(slots)
	guard, err := barrier.New(db, barrier.PostgreSQL, barrier.Options{})
	if err != nil {
		return err
	}
	if err := prepare(ctx, db, guard); err != nil {
		return fmt.Errorf("the tables: %w", err)
	}
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{
		Addresses: os.Getenv("SAGALINE_ADDRESS"), Slots: slots, Actions: []sagaline.Served{hotel(guard)},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	return worker.RunUntilSignal(ctx)
}

func prepare(ctx context.Context, db *sql.DB, guard *barrier.Barrier) error {
	for _, statement := range tables {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return guard.CreateTable(ctx)
}

func hotel(guard *barrier.Barrier) *sagaline.Action[booking, string] {
	take := barrier.Action(guard, book)
	return sagaline.NewAction("polyglot.hotel", "1", func(ctx context.Context, in booking) (string, error) {
		switch in.Trouble {
		case sagaline.InfoFrom(ctx).Node:
			return "", sagaline.Failed("SoldOut", "no room is left")
		case "slow": // outside of the transaction
			select {
			case <-time.After(slowTime):
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		return take(ctx, in)
	}).WithUndo(barrier.Undo(guard, release)).WithBarrier()
}

func book(ctx context.Context, tx *sql.Tx, in booking) (string, error) {
	info := sagaline.InfoFrom(ctx)
	if _, err := tx.ExecContext(ctx, "INSERT INTO bookings (saga, item) VALUES ($1, $2)", info.SagaID, in.Item); err != nil {
		return "", err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO effects (saga, what) VALUES ($1, 'booked')", info.SagaID)
	return in.Item + "@" + info.Node, err
}

func release(ctx context.Context, tx *sql.Tx, _ sagaline.Undo[booking, string]) error {
	saga := sagaline.InfoFrom(ctx).SagaID
	result, err := tx.ExecContext(ctx, "DELETE FROM bookings WHERE saga = $1", saga)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO effects (saga, what) VALUES ($1, 'released')", saga)
	return err
}
