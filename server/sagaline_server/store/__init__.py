"""The adapters of the `SagaStore` port: SQLite, etcd, and their twin in memory."""
