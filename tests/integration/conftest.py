"""What integration tests share: real servers, and clocks that do as they are told."""

from __future__ import annotations

import uuid

import pytest

from tests.etcd_server import etcd_server

__all__ = ["etcd_server"]


@pytest.fixture
def prefix() -> str:
    """A prefix of etcd's keys that no other test uses."""
    return f"test-{uuid.uuid4().hex}"
