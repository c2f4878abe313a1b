"""Spans of sagas that have ended, for OpenTelemetry: made from their logs (`core.spans`), beside everything else."""
