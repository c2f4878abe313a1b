// Package sqlitetest tests package barrier with a SQLite driver. It is a module of its own, so that users of the SDK
// need none.
package sqlitetest
