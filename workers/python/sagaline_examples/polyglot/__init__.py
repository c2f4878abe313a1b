"""One saga in four languages: pay in Java, hotel in Go, flight in TypeScript, car in Python. See workers/README.md."""
