"""The limits of the protocol that the SDK checks before anything is sent. The server has the same ones."""

from __future__ import annotations

from typing import Final

PAYLOAD_BYTES: Final = 256 * 1024
"""One payload, encoded."""
TYPE_SPEC_BYTES: Final = 16 * 1024
"""One JSON schema, as text."""

GRAPH_NAME_CHARS: Final = 128
NODE_NAME_CHARS: Final = 64
ACTION_NAME_CHARS: Final = 128
VERSION_CHARS: Final = 64
GRAPH_NODES: Final = 10_000
"""Nodes of a graph, those of its subsagas among them."""
GRAPH_EDGES: Final = 100_000
"""Edges of a graph, those of its subsagas among them."""
SUBSAGA_DEPTH: Final = 8
PATH_ELEMENTS: Final = 16
PATH_ELEMENT_CHARS: Final = 128
ACTION_INPUTS: Final = 8
"""Inputs of one action. The protocol allows 64; type checkers compare as many as there are overloads for."""

MAX_ATTEMPTS: Final = 1_000_000
INITIAL_BACKOFF_SECONDS: Final = 86_400
BACKOFF_SECONDS: Final = 30 * 86_400
MULTIPLIER: Final = 100.0
TIMEOUT_SECONDS: Final = 366 * 86_400
NON_RETRYABLE_TYPES: Final = 64
FAILURE_TYPE_BYTES: Final = 128
