"""Every limit of the system, with its unit. Checked before anything is written."""

from __future__ import annotations

SAGA_ID_CHARS = 128
NODE_NAME_CHARS = 64
GRAPH_NAME_CHARS = 128
ACTION_NAME_CHARS = 128
VERSION_CHARS = 64
SCOPE_CHARS = 128
WORKER_ID_CHARS = 64
SEC_ID_CHARS = 64

GRAPH_NODES = 10_000
"""Nodes of a graph, subsagas flattened."""
GRAPH_EDGES = 100_000
SUBSAGA_DEPTH = 8
NODE_INPUTS = 64
PATH_ELEMENTS = 16
PATH_ELEMENT_CHARS = 128

PAYLOAD_BYTES = 256 * 1024
"""One payload, encoded."""
RECORD_BYTES = 1024 * 1024
"""One saga's record, encoded: it has to fit in one store request of 1.5 MiB."""
BATCH_BYTES = 1024 * 1024
"""One saga's entries of one append, encoded."""
FRAME_BYTES = 1024 * 1024
"""One frame of a worker stream."""
PROGRESS_BYTES = 16 * 1024
"""What an attempt tells of its progress; more than that only says that it is alive."""
INVOCATION_BYTES = 512 * 1024
"""All that an action is sent, its inputs together. Its undo carries its output and the saga's failure as well, and
still has to fit into a frame."""
METADATA_PAIRS = 16
METADATA_KEY_BYTES = 64
METADATA_VALUE_BYTES = 1024
ENCODING_CHARS = 64
TYPE_BYTES = 16 * 1024
"""One JSON Schema, as text."""

LABELS = 32
LABEL_BYTES = 128
SCOPES = 16
TRACE_CONTEXT_PAIRS = 4
TRACE_CONTEXT_BYTES = 512

LOG_ENTRIES = 200_000
"""Entries of one saga's log. At this length its actions are no longer retried, so that it can still end."""

REQUEST_ID_CHARS = 128
SIGNALS_KEPT = 1_000
"""Signals of one name that are kept for the elements of maps that have not grown yet."""
STEPS = 10_000
"""Starts that may be let pass a gate that holds."""
FAULTS = 100
"""Injected faults of one kind that a node may have."""
LIMITS = 1_000
"""Limits on scopes and actions. Every SEC keeps them all."""
BREAKPOINTS = 100
"""Breakpoints of one saga."""
ACTION_BREAKPOINTS = 100
"""Breakpoints on actions. Every SEC keeps them all."""

MAX_ATTEMPTS = 1_000_000
BACKOFF_SECONDS_MAX = 30 * 86_400.0
INITIAL_BACKOFF_SECONDS_MAX = 86_400.0
MULTIPLIER_MAX = 100.0
NON_RETRYABLE_TYPES = 64
DEADLINE_SECONDS_MAX = 366 * 86_400.0

FAILURE_TYPE_BYTES = 128
FAILURE_MESSAGE_BYTES = 4096
FAILURE_STACK_BYTES = 16 * 1024
FAILURE_DETAILS = 4
FAILURE_DETAILS_BYTES = 16 * 1024
"""All details of a failure together; more are dropped."""
FAILURE_CAUSES = 4
ACTOR_BYTES = 256
REASON_BYTES = 1024

CREATE_BATCH = 1000
"""Sagas in one CreateSagas request or RunSagas frame."""
GRAPHS_PER_STREAM = 1000
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000
WAIT_SECONDS_MAX = 600.0
DRAIN_SECONDS_DEFAULT = 60.0
DRAIN_SECONDS_MAX = 3600.0
PROBLEMS_REPORTED = 20
"""Field problems in one error: they travel in trailers, which gRPC bounds."""
ACTIONS_PER_WORKER = 1000
WINDOW_MAX = 100_000
"""Greatest window a worker can grant."""
