package main

import (
	"context"

	sagaline "sagaline.dev/sdk/go"
)

type ChargeIn struct {
	Amount int `json:"amount"`
}

type Order struct {
	Amount int    `json:"amount"`
	Name   string `json:"name"`
}

func run(_ context.Context, in ChargeIn) (string, error) { return "paid", nil }

func main() {
	charge := sagaline.NewAction("charge", "1", run)
	g, params := sagaline.NewGraph[Order]("misfit")

	// want: does not match
	name := sagaline.Field(params, func(o *Order) *string { return &o.Name })
	sagaline.Add(g, "pay", charge, sagaline.With(sagaline.Bind(func(in *ChargeIn) *int { return &in.Amount }, name)))
}
