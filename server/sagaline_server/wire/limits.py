"""Limits, as they are stored."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2
from sagaline_server.core.shares import ActionLimit, ScopeLimit


def subject(limit: admin_service_pb2.Limit) -> str:
    """Return what a limit is on, as the store names it."""
    return f"scope:{limit.scope}" if limit.HasField("scope") else f"action:{limit.action}"


def is_lifted(limit: admin_service_pb2.Limit) -> bool:
    """True of a limit that limits nothing."""
    return scope_limit(limit) == ScopeLimit() and action_limit(limit) == ActionLimit()


def scope_limit(limit: admin_service_pb2.Limit) -> ScopeLimit:
    """Return a limit on a scope."""
    return ScopeLimit(
        limit.max_running if limit.HasField("max_running") else None,
        limit.max_failing if limit.HasField("max_failing") else None,
    )


def action_limit(limit: admin_service_pb2.Limit) -> ActionLimit:
    """Return a limit on an action."""
    return ActionLimit(
        limit.max_in_flight if limit.HasField("max_in_flight") else None,
        limit.starts_per_second if limit.HasField("starts_per_second") else None,
    )
