package main

import (
	"context"

	sagaline "sagaline.dev/sdk/go"
)

type ChargeIn struct {
	Amount int `json:"amount"`
}

func run(_ context.Context, in ChargeIn) (string, error) { return "paid", nil }

func main() {
	charge := sagaline.NewAction("charge", "1", run)
	g, params := sagaline.NewGraph[[]string]("misfit")

	// want: does not match
	sagaline.MapField(g, "pay", charge, params, func(in *ChargeIn) *int { return &in.Amount }, nil, sagaline.MapOptions{})
}
