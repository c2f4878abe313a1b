"""One saga in four languages, on two SECs and a real etcd: `make demo-polyglot`."""
