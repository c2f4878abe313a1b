// Package sagaline is the Go SDK of Sagaline, a saga execution coordinator: workers that run actions and undo actions,
// a builder of typed graphs, and a client. See README.md for a first worker in one page.
package sagaline
