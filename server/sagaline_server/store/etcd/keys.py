"""Where in etcd everything is.

    <prefix>/sec/{sec}           SecRegistration. Leased; its create revision is the incarnation.
    <prefix>/owner/{saga}        OwnerRecord. Its version is the epoch; there while the saga is unfinished.
    <prefix>/record/{saga}       SagaRecord.
    <prefix>/log/{saga}/{seq}    LogBatch; the number is that of its first entry, padded so that keys sort as numbers.
    <prefix>/control/{saga}/{id} ControlRecord; ids sort by time.
    <prefix>/done/{saga}         DoneRecord.
    <prefix>/limit/{subject}     Limit of a scope or action, or ActionBreakpoint: as the subject says.
    <prefix>/shard               Which shard of which cell this is, as JSON; only where there are several (`shards.py`).
    <prefix>/probe               Never there. New connections are asked about it.

No id contains a slash, so none reaches into another's keys, and the order of
keys is the order of ids. A subject may, and nothing is under it.
"""

from __future__ import annotations


class Keys:
    """The keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = root = f"{prefix.strip('/')}/".encode()
        self.secs = root + b"sec/"
        self.owners = root + b"owner/"
        self.records = root + b"record/"
        self.logs = root + b"log/"
        self.controls = root + b"control/"
        self.dones = root + b"done/"
        self.conditions = root + b"limit/"
        self.shard = root + b"shard"
        self.probe = root + b"probe"

    def sec(self, sec_id: str) -> bytes:
        """Return the key that is there while an incarnation of this SEC lives."""
        return self.secs + sec_id.encode()

    def owner(self, saga_id: str) -> bytes:
        """Return the key of an unfinished saga's owner."""
        return self.owners + saga_id.encode()

    def record(self, saga_id: str) -> bytes:
        """Return the key of a saga's record."""
        return self.records + saga_id.encode()

    def log(self, saga_id: str) -> bytes:
        """Return what the keys of a saga's batches start with."""
        return b"%s%s/" % (self.logs, saga_id.encode())

    def batch(self, saga_id: str, first_seq: int) -> bytes:
        """Return the key of the batch whose first entry has this number."""
        return b"%s%s/%012d" % (self.logs, saga_id.encode(), first_seq)

    def control(self, saga_id: str, control_id: str = "") -> bytes:
        """Return the key of a request, or what the keys of all requests to a saga's owner start with."""
        return b"%s%s/%s" % (self.controls, saga_id.encode(), control_id.encode())

    def control_of(self, key: bytes) -> tuple[str, str] | None:
        """Return the saga and the id of a request's key; None if it is no such key, whoever put it there."""
        saga_id, separator, control_id = key[len(self.controls) :].partition(b"/")
        try:
            return (saga_id.decode(), control_id.decode()) if saga_id and separator and control_id else None
        except UnicodeDecodeError:
            return None

    def first_seq_of(self, key: bytes) -> int:
        """Return the number in a batch's key; 0 if it is no such key."""
        number = key.rpartition(b"/")[2]
        return int(number) if number.isdigit() else 0

    def condition(self, subject: str) -> bytes:
        """Return the key of a condition."""
        return self.conditions + subject.encode()

    def done(self, saga_id: str) -> bytes:
        """Return the key of a finished saga's summary."""
        return self.dones + saga_id.encode()


def after_all(start: bytes) -> bytes:
    """Return the end of the range of all keys that start with `start`, which ends in a byte below 255."""
    return start[:-1] + bytes([start[-1] + 1])


def after(key: bytes) -> bytes:
    """Return the least key greater than `key`."""
    return key + b"\0"
