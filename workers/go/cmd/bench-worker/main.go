// Command bench-worker serves the action of the benchmarks, which does nothing: bench-worker ADDRESS SLOTS.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strconv"

	sagaline "sagaline.dev/sdk/go"
)

type value struct {
	Value string `json:"value"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: bench-worker ADDRESS SLOTS")
	}
	slots, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("SLOTS: %w", err)
	}
	pass := sagaline.NewAction("bench.pass", "1", func(_ context.Context, in value) (string, error) { return in.Value, nil }).
		WithUndo(func(context.Context, sagaline.Undo[value, string]) error { return nil })
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{
		Addresses: args[0], Actions: []sagaline.Served{pass}, Slots: slots,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	return worker.RunUntilSignal(context.Background())
}
