"""Reads what a command is pointed at: "MODULE:ATTR" of a Python program, or a file of JSON."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
import traceback
from pathlib import Path
from types import ModuleType
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
        raise UnusableInput(f'{path!r} does not read "MODULE:ATTR": a Python module, and the name of what is in it')
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: object = _module(module_name, path)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        # What a program looks up may raise anything.
        except Exception as error:
            if not isinstance(error, AttributeError):
                raise UnusableInput(f"cannot load {path!r}: {type(error).__name__}: {error}") from error
            raise UnusableInput(f"cannot load {path!r}: {_absent(found, part)}") from error
    return found


def _module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # As above.
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            there = f"there is no module {error.name!r} in {Path.cwd()}, nor is one installed"
            raise UnusableInput(f"cannot load {path!r}: {there}") from error
        told = f"{type(error).__name__}: {error}"
        raise UnusableInput(f"cannot load {path!r}: {_where(error)}{told}") from error


def _where(error: Exception) -> str:
    """Return the line of the user's program at which it went wrong: the last one that is no library's."""
    if isinstance(error, SyntaxError):
        return ""  # its text says where
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, sys.prefix, sys.base_prefix, "<"))
    ]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""


def _absent(found: object, part: str) -> str:
    has = [name for name in dir(found) if not name.startswith("_")]
    near = difflib.get_close_matches(part, has, n=3)
    where = f"module {found.__name__}" if isinstance(found, ModuleType) else f"a {type(found).__name__}"
    return f"{where} has no {part!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def read_text(path: str) -> str:
    """Return the text of a file; "-" is standard input.

    Raises:
        UnusableInput: It cannot be read, or is not UTF-8.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            text: str = file.read()
    except OSError as error:
        raise UnusableInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableInput(f"cannot read {path}: {error}") from error
    return text


def refuse_program(source: str) -> None:
    """Refuse a file of Python where JSON is due: what is meant is something in it.

    Raises:
        UnusableInput: It is one.
    """
    if source.endswith(".py"):
        raise UnusableInput(f"{source} is a program: name the graph in it, as in {Path(source).stem}:graph")


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
