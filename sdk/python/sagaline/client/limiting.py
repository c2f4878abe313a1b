"""The client's methods for what holds sagas over the whole cluster: limits, and breakpoints on actions."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline.client import calls
from sagaline.client.aio_link import AioLink
from sagaline.v1 import admin_service_pb2, saga_pb2


class LimitMethods:
    """Sets and lists limits, and breakpoints on actions; part of `Client`."""

    _link: AioLink

    async def set_scope_limit(
        self, scope: str, *, max_running: int | None = None, max_failing: int | None = None
    ) -> admin_service_pb2.Limit:
        """Bound the sagas of a scope over the whole cluster; None lifts a bound. Those that have started go on.

        Args:
            scope: Such as "rack/17".
            max_running: Sagas that may run at once; others wait before their first start.
            max_failing: Once so many unwind or need an operator, new ones wait. At least 1.
        """
        return await self._link.unary(calls.set_scope_limit(scope, max_running, max_failing))

    async def set_action_limit(
        self, action: str, *, max_in_flight: int | None = None, starts_per_second: float | None = None
    ) -> admin_service_pb2.Limit:
        """Bound the attempts of an action over the whole cluster; None lifts a bound. Undo is never bounded.

        Args:
            action: Name of the action, of whatever version.
            max_in_flight: Attempts at once.
            starts_per_second: Attempts that may start in a second.
        """
        return await self._link.unary(calls.set_action_limit(action, max_in_flight, starts_per_second))

    async def limits(self) -> Sequence[admin_service_pb2.Limit]:
        """List the limits on scopes and actions."""
        return await self._link.unary(calls.list_limits())

    async def set_action_breakpoint(
        self,
        action: str,
        *,
        kind: saga_pb2.InvocationKind.ValueType = saga_pb2.INVOCATION_KIND_UNSPECIFIED,
        actor: str,
        reason: str,
    ) -> admin_service_pb2.ActionBreakpoint:
        """Hold every start of an action, in every saga of the whole cluster, until a step or `clear_action_breakpoint`.

        Args:
            action: Name of the action, of whatever version. It has one breakpoint: the last one that was set.
            kind: The action or the undo action alone; unspecified: both.
            actor: Who holds it. Whoever asks why a saga waits is told.
            reason: Why.
        """
        return await self._link.unary(calls.set_action_breakpoint(action, kind, actor, reason))

    async def clear_action_breakpoint(self, action: str) -> None:
        """Clear the breakpoint on an action; what it held goes on."""
        await self._link.unary(calls.clear_action_breakpoint(action))

    async def action_breakpoints(self) -> Sequence[admin_service_pb2.ActionBreakpoint]:
        """List the breakpoints on actions."""
        return await self._link.unary(calls.list_action_breakpoints())
