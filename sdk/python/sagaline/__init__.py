"""Sagaline's Python SDK: describe sagas, run their actions in workers, create and watch them.

```python
from sagaline import Client, Context, Failed, GraphBuilder, Worker, action
```

Names are imported when they are first used: a program that only builds graphs never loads gRPC. The client for
programs without asyncio is `sagaline.sync.Client`; every error is in `sagaline.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaline import errors
    from sagaline.actions import Action, ActionDecorator, action
    from sagaline.client import Client, NewSaga, SagaOptions
    from sagaline.context import Context, current_context
    from sagaline.errors import Failed, Hold, Retry, SagalineError
    from sagaline.graph import Graph, GraphBuilder, Input
    from sagaline.node_options import NodeOptions
    from sagaline.policies import UNBOUNDED, Irreversible, RetryPolicy, Timeouts, UndoKind, UndoPolicy, UnknownPolicy
    from sagaline.refs import Ref
    from sagaline.values import JsonValue, decode, encode
    from sagaline.worker.worker import Worker

__all__ = [
    "UNBOUNDED",
    "Action",
    "ActionDecorator",
    "Client",
    "Context",
    "Failed",
    "Graph",
    "GraphBuilder",
    "Hold",
    "Input",
    "Irreversible",
    "JsonValue",
    "NewSaga",
    "NodeOptions",
    "Ref",
    "Retry",
    "RetryPolicy",
    "SagaOptions",
    "SagalineError",
    "Timeouts",
    "UndoKind",
    "UndoPolicy",
    "UnknownPolicy",
    "Worker",
    "action",
    "current_context",
    "decode",
    "encode",
    "errors",
]

_MODULES = {
    "sagaline.actions": ("Action", "ActionDecorator", "action"),
    "sagaline.client": ("Client", "NewSaga", "SagaOptions"),
    "sagaline.context": ("Context", "current_context"),
    "sagaline.errors": ("Failed", "Hold", "Retry", "SagalineError"),
    "sagaline.graph": ("Graph", "GraphBuilder", "Input"),
    "sagaline.node_options": ("NodeOptions",),
    "sagaline.policies": (
        "UNBOUNDED",
        "Irreversible",
        "RetryPolicy",
        "Timeouts",
        "UndoKind",
        "UndoPolicy",
        "UnknownPolicy",
    ),
    "sagaline.refs": ("Ref",),
    "sagaline.values": ("JsonValue", "decode", "encode"),
    "sagaline.worker.worker": ("Worker",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # or else checkers would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Import a name on its first use."""
        if name == "errors":
            return import_module("sagaline.errors")
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'sagaline' has no attribute {name!r}")
        value = getattr(import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
