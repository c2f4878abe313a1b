"""Reads what a command is pointed at: "MODULE:ATTR" of a Python program, or a file of JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TypeVar

import click
from google.protobuf import json_format
from google.protobuf.message import Message

from sagaline.cli.exits import UnusableInput

M = TypeVar("M", bound=Message)


def load_attribute(path: str) -> object:
    """Return what "package.module:attribute" names; modules beside the working directory are found.

    Raises:
        UnusableInput: There is no such thing, or importing it fails.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UnusableInput(f'{path!r} does not read "MODULE:ATTR"')
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    # A module that is imported may raise anything.
    except Exception as error:
        raise UnusableInput(f"cannot load {path!r}: {type(error).__name__}: {error}") from error
    return found


def read_text(path: str) -> str:
    """Return the text of a file; "-" is standard input.

    Raises:
        UnusableInput: It cannot be read, or is not UTF-8.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            text: str = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableInput(f"cannot read {path}: {error}") from error
    return text


def parse_message(text: str, message: M, where: str) -> M:
    """Fill `message` from protobuf JSON and return it.

    Raises:
        UnusableInput: It is no such JSON; `where` is said in the message.
    """
    kind = message.DESCRIPTOR.name
    try:
        tree = json.loads(text)
        if not isinstance(tree, dict):
            raise UnusableInput(f"{where} is not the JSON of a {kind}: it is no object")
        return json_format.ParseDict(tree, message)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise UnusableInput(f"{where} is not the JSON of a {kind}: {error}") from error


def looks_like_attribute(source: str) -> bool:
    """Say whether `source` is "MODULE:ATTR" rather than a file."""
    return ":" in source and not Path(source).exists()
