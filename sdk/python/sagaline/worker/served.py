"""What a worker serves: its actions as the executor calls them, as Hello tells of them, and as holdings route them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagaline.actions import Action
from sagaline.errors import ActionError, DefinitionError
from sagaline.signatures import Side
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.payload_pb2 import Payload
from sagaline.worker import limits
from sagaline.worker.attempts import ACTION, UNDO
from sagaline.worker.executor import Runnable
from sagaline.worker.holdings import Served

NOTHING = Payload(json="null")
"""Output of every undo action: nobody reads it."""


class Forward:
    """An action, as the executor calls it."""

    def __init__(self, action: Action[Any, Any]) -> None:
        self._action = action
        self.is_async = action.forward.is_async
        self.call = action.forward.call
        self.encode = action.encode_output

    def decode(self, invocation: pb.Invocation) -> Mapping[str, Any]:
        """Arguments by name."""
        return self._action.decode_inputs(invocation.inputs)


class Backward:
    """An undo action, as the executor calls it."""

    def __init__(self, action: Action[Any, Any], side: Side) -> None:
        self._action = action
        self.is_async = side.is_async
        self.call = side.call

    def decode(self, invocation: pb.Invocation) -> Mapping[str, Any]:
        """Arguments by name."""
        return self._action.decode_undo(invocation.inputs, invocation.undo)

    def encode(self, value: object) -> Payload:
        """Whatever it returned."""
        return NOTHING


class Catalog:
    """The actions of one worker.

    Raises:
        ActionError: One can't be served here, or two have the same name and version.
        DefinitionError: There are too many, or one uses a slot pool that the worker does not have.
    """

    def __init__(self, actions: Iterable[Action[Any, Any]], pools: Iterable[str]) -> None:
        self._actions = tuple(actions)
        self.runnables: dict[tuple[str, str, int], Runnable] = {}
        self._pools = set(pools)
        if not 1 <= len(self._actions) <= limits.ACTIONS_MAX:
            raise DefinitionError(f"a worker serves 1 to {limits.ACTIONS_MAX} actions, not {len(self._actions)}")
        for action in self._actions:
            self._add(action)

    def _add(self, action: Action[Any, Any]) -> None:
        if not isinstance(action, Action):
            raise ActionError(f"{action!r} is not an action: decorate it with @sagaline.action")
        if action.elsewhere:
            raise ActionError(f"action {action.name} is declared as served elsewhere, so no worker here can serve it")
        if (action.name, action.version, ACTION) in self.runnables:
            raise ActionError(f"action {action.name} version {action.version} is given twice")
        if action.pool not in self._pools:
            known = ", ".join(sorted(map(repr, self._pools)))
            raise DefinitionError(
                f"action {action.name} uses the slot pool {action.pool!r} and the worker has {known}: add it to `slots`"
            )
        self.runnables[action.name, action.version, ACTION] = Forward(action)
        if action.backward is not None:
            self.runnables[action.name, action.version, UNDO] = Backward(action, action.backward)

    def pools(self) -> Served:
        """The slot pool of everything that is served."""
        pool = {(action.name, action.version): action.pool for action in self._actions}
        return {key: pool[key[0], key[1]] for key in self.runnables}

    def describe(self, hello: pb.Hello) -> bool:
        """Put the actions into a hello.

        Returns:
            False if their types had to stay out, because they would not fit into a frame.

        Raises:
            DefinitionError: They do not fit even without types.
        """
        specs = [action.spec() for action in self._actions]
        hello.actions.extend(specs)
        if hello.ByteSize() <= limits.HELLO_BYTES_MAX:
            return True
        for spec in hello.actions:
            spec.ClearField("input_types")
            spec.ClearField("output_type")
        if hello.ByteSize() > limits.HELLO_BYTES_MAX:
            raise DefinitionError(f"the worker's description has {hello.ByteSize()} bytes: serve fewer actions")
        return False
