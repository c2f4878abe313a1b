"""Reads the access file, and reads it again when it has changed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import structlog

from sagaline_server.app.settings import Settings, SettingsError
from sagaline_server.runtime.access import Access, AccessFile, Party, problem_of

log = structlog.get_logger("sagaline.access")

Mark = tuple[int, int, int]


def peer_token(settings: Settings) -> str:
    """Return the token that this SEC shows to others; empty where it has none.

    Raises:
        SettingsError: Its token can't be read.
    """
    if not settings.peer_token_file:
        return ""
    try:
        return Path(settings.peer_token_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings: peer_token_file {settings.peer_token_file}: {error}") from error


class FileOfAccess:
    """The rules of a file."""

    def __init__(self, path: str) -> None:
        """Read the file.

        Raises:
            SettingsError: It can't be used.
        """
        self._path = Path(path)
        self._mark = self._look()
        self.access = Access(self._read())

    def refresh(self) -> None:
        """Take the file's rules if it has changed; one that can't be used changes nothing, and is told."""
        try:
            mark = self._look()
            if mark == self._mark:
                return
            self._mark = mark
            parties = self._read()
        except SettingsError as error:
            log.error("access_file_unusable", error=str(error))  # noqa: TRY400 - it says all
        else:
            self.access.replace(parties)
            log.info("access_file_read", parties=len(parties))

    def _look(self) -> Mark:
        try:
            found = self._path.stat()
        except OSError as error:
            raise SettingsError(f"settings: access_file {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> tuple[Party, ...]:
        try:
            parties = msgspec.convert(tomllib.loads(self._path.read_text()), AccessFile).party
        except OSError as error:
            raise SettingsError(f"settings: access_file {self._path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise SettingsError(f"settings: access_file {self._path}: {error}") from error
        if problem := problem_of(parties):
            raise SettingsError(f"settings: access_file {self._path}: {problem}")
        return parties
