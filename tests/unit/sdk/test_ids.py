"""Ids of sagas and workers."""

from __future__ import annotations

import uuid

from sagaline.ids import new_uuid7, uuid7


def test_the_layout_of_a_uuid7() -> None:
    made = uuid7(0x017F22E279B0, (0xCC3 << 62) | 0x18C4DC0C0C07398F)
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"  # the example of RFC 9562
    assert str(uuid7((1 << 48) - 1, (1 << 74) - 1)) == "ffffffff-ffff-7fff-bfff-ffffffffffff"


def test_new_ids_are_of_version_7_and_never_the_same() -> None:
    made = {new_uuid7() for _ in range(1_000)}
    assert len(made) == 1_000
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
