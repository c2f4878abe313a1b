// Package runs keeps many sagas on one RunSagas stream, and survives its breaking: what to send, what was answered. No I/O.
package runs
