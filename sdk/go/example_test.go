package sagaline_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	sagaline "sagaline.dev/sdk/go"
)

type bookIn struct {
	Hotel  string `json:"hotel"`
	Nights int    `json:"nights"`
}

type trip struct {
	Hotel  string `json:"hotel"`
	Nights int    `json:"nights"`
}

var book = sagaline.NewAction("example.book", "1", func(ctx context.Context, in bookIn) (string, error) {
	if in.Nights > 14 {
		return "", sagaline.Failed("TooLong", "no hotel lets you stay so long")
	}
	return "room 7 of " + in.Hotel, nil
}).WithUndo(func(ctx context.Context, u sagaline.Undo[bookIn, string]) error {
	return nil // give u.Output back
})

// A graph is built of typed references: what does not fit does not compile.
func ExampleAdd() {
	g, params := sagaline.NewGraph[trip]("example")
	room := sagaline.Add(g, "hotel", book, sagaline.With(
		sagaline.Bind(func(in *bookIn) *string { return &in.Hotel }, sagaline.Field(params, func(t *trip) *string { return &t.Hotel })),
		sagaline.Bind(func(in *bookIn) *int { return &in.Nights }, sagaline.Literal(3)),
	))
	graph, err := sagaline.Build(params, room)
	if err != nil {
		log.Fatal(err)
	}
	node := graph.Message().GetNodes()[0]
	fmt.Println(node.GetName(), node.GetAction().GetAction(), node.GetAction().GetInputs()["nights"].GetLiteral().GetJson())
	// Output: hotel example.book 3
}

// Outcomes are errors: they can be wrapped, and compared.
func ExampleFailed() {
	err := fmt.Errorf("booking: %w", sagaline.Failed("SoldOut", "no room is left"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, sagaline.Failed("SoldOut", "")))
	// Output:
	// booking: SoldOut: no room is left
	// true
}

func ExampleWorker() {
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{
		Addresses: "localhost:7070",
		Actions:   []sagaline.Served{book},
		Slots:     50,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := worker.RunUntilSignal(context.Background()); err != nil {
		log.Fatal(err)
	}
}
