"""What a script has: SECs, the worker under test, gates and effects, and one way to wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.messages import Unexpected, ref
from sagaline_conformance.sec import Sec, Stream

T = TypeVar("T")

POLL_SECONDS = 0.02
"""How often files are looked at."""


class Program:
    """The worker under test: one process, with all that it starts."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def terminate(self) -> None:
        """SIGTERM, to it alone."""
        if self._process.returncode is None:
            self._process.terminate()

    async def kill(self) -> None:
        """Everything that it has started, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


class Kit:
    """Made for each run of a behaviour anew."""

    def __init__(self, command: Sequence[str], folder: Path, wait: float, environment: dict[str, str]) -> None:
        self.folder = folder
        self.wait = wait
        """Seconds after which a script gives up waiting."""
        self.notes: list[str] = []
        self.violations: list[str] = []
        self.programs: list[Program] = []
        self.slots = 0
        self._command = command
        self._environment = environment
        self._secs: list[Sec] = []
        self._changed = asyncio.Event()
        self._effects = folder / "effects"
        self._gates = folder / "gates"
        self._gates.mkdir()
        self._effects.touch()

    # ---- actors

    async def sec(self, name: str = "a", *, listening: bool = True) -> Sec:
        """A SEC; its port is its own from here on, also while it does not listen."""
        sec = Sec(name, self.notes.append, self.violations.append, self._changed.set)
        self._secs.append(sec)
        await sec.start()
        if not listening:
            await sec.stop()
        return sec

    async def start(self, *secs: Sec, slots: int = 10, drain: float = 20.0) -> Program:
        """Start the worker."""
        self.slots = slots
        log = self.folder / f"worker-{len(self.programs) + 1}.log"
        environment = {
            **os.environ,
            **self._environment,
            "SAGALINE_ADDRESS": ",".join(sec.address for sec in secs),
            "SAGALINE_SLOTS": str(slots),
            "SAGALINE_DRAIN_SECONDS": str(drain),
            "SAGALINE_BUILD_ID": "conformance",
            "SAGALINE_EFFECTS": str(self._effects),
            "SAGALINE_GATES": str(self._gates),
        }
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        program = Program(process, log)
        self.programs.append(program)
        return program

    async def stream(self, sec: Sec, number: int = 1) -> Stream:
        """The stream of this number, counted for each SEC from 1, once its hello is there."""

        def opened() -> Stream | None:
            if self.programs and all(program.exit_code is not None for program in self.programs):
                raise Unexpected(f"the worker's process ended by itself, with {self.programs[-1].exit_code}")
            return sec.streams[number - 1] if len(sec.streams) >= number else None

        return await self.until(f"stream {number} to {sec.name}", opened)

    async def session(self, *, slots: int = 10, drain: float = 20.0, **welcome: Any) -> Stream:
        """The ordinary beginning: one SEC, one worker, welcomed."""
        sec = await self.sec()
        await self.start(sec, slots=slots, drain=drain)
        stream = await self.stream(sec)
        stream.welcome(**welcome)
        return stream

    async def two_sessions(self, *, slots: int = 10) -> tuple[Stream, Stream]:
        """One worker with streams to two SECs, `a` and `b`."""
        a, b = await self.sec("a"), await self.sec("b")
        await self.start(a, slots=slots)
        secs = sec_set(1, a, b)
        first = await self.stream(a)
        first.welcome(secs=secs)
        second = await self.stream(b)
        second.welcome(secs=secs)
        await self.heard(second)
        return first, second

    async def heard(self, stream: Stream) -> None:
        """Wait until the worker has read all that was said on a stream: what is said on another now comes after it."""
        nobody = ref("kit", "heard", attempt=len(stream.frames))
        stream.send(reconcile=pb.Reconcile(refs=[nobody]))
        await self.until(f"a report on {stream.name}", lambda: stream.reported(nobody))

    async def close(self) -> None:
        """Nothing is left behind."""
        for program in self.programs:
            await program.kill()
        for sec in self._secs:
            await sec.stop()

    # ---- waiting

    async def until(self, what: str, look: Callable[[], T | None], within: float | None = None) -> T:
        """Wait until `look` gives something true, and return it."""
        limit = self.wait if within is None else within
        end = asyncio.get_running_loop().time() + limit
        while True:
            self._changed.clear()
            found = look()
            if found:
                return found
            if asyncio.get_running_loop().time() >= end:
                raise Unexpected(f"waited {limit:g} s in vain for {what}")
            await self._pause()

    async def never(self, what: str, look: Callable[[], object], during: float = 0.5) -> None:
        """For a time, `look` must give nothing true."""
        end = asyncio.get_running_loop().time() + during
        while asyncio.get_running_loop().time() < end:
            self._changed.clear()
            if look():
                raise Unexpected(f"expected that there is never {what}")
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)

    async def result(self, stream: Stream, of: pb.InvocationRef, count: int = 1) -> pb.InvocationResult:
        """The result of an attempt, told for the `count`-th time on this stream."""
        what = f"result {count} of {of.saga_id}/{of.node} on {stream.name}"
        return (await self.until(what, lambda: stream.results(of)[count - 1 : count]))[0]

    async def rejection(self, stream: Stream, of: pb.InvocationRef, reason: int) -> None:
        """The attempt is rejected, for this reason."""
        what = f"a rejection of {of.saga_id}/{of.node} on {stream.name}"
        found = await self.until(what, lambda: stream.rejections(of))
        if found[-1].reason != reason:
            given, wanted = (_reason(number) for number in (found[-1].reason, reason))
            raise Unexpected(f"{of.saga_id}/{of.node} was rejected as {given}; expected {wanted}")

    async def started(self, of: pb.InvocationRef) -> None:
        """User code of the attempt has begun."""
        await self.until(f"the start of {of.saga_id}/{of.node}", lambda: self.starts(of))

    async def exited(self, program: Program, within: float | None = None) -> int:
        """The exit code, once the program has ended."""
        codes = await self.until("the end of the worker's process", lambda: _known(program.exit_code), within)
        return codes[0]

    # ---- gates and effects

    def open(self, gate: str) -> None:
        (self._gates / gate).touch()

    def effects(self) -> list[dict[str, Any]]:
        """What user code has told of itself, in order. A line that is not complete yet is left out."""
        text = self._effects.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def starts(self, of: pb.InvocationRef | None = None) -> list[dict[str, Any]]:
        """The starts; of one attempt, or of all."""
        effects = [effect for effect in self.effects() if effect["event"] == "start"]
        return effects if of is None else [effect for effect in effects if _is_of(effect, of)]

    def running(self) -> int:
        """How many attempts have begun and not ended."""
        return sum(1 if effect["event"] == "start" else -1 for effect in self.effects())

    def check(self) -> None:
        """What must hold after every script: nothing ran twice, no node twice at once, no frame broke a rule."""
        started: set[tuple[object, ...]] = set()
        inside: dict[tuple[object, ...], int] = {}
        for effect in self.effects():
            name = (effect["saga"], effect["node"], effect["kind"], effect["attempt"])
            place = name[:2]
            if effect["event"] == "end":
                inside[place] -= 1
                continue
            if name in started:
                self.violations.append(f"W20: attempt {name} ran twice")
            started.add(name)
            inside[place] = inside.get(place, 0) + 1
            if inside[place] > 1:
                self.violations.append(f"W22: node {place} ran twice at once")
        if self.violations:
            raise Unexpected("; ".join(dict.fromkeys(self.violations)))


def sec_set(revision: int, *secs: Sec) -> pb.SecSet:
    """Who the SECs are."""
    return pb.SecSet(revision=revision, secs=[sec.named() for sec in secs])


def _is_of(effect: dict[str, Any], of: pb.InvocationRef) -> bool:
    kind = "undo" if of.kind == 2 else "action"
    told = (effect["saga"], effect["node"], effect["kind"], effect["attempt"])
    return told == (of.saga_id, of.node, kind, of.attempt)


def _known(code: int | None) -> tuple[int] | None:
    return None if code is None else (code,)


def _reason(number: int) -> str:
    known = number in pb.RejectionReason.values()
    return pb.RejectionReason.Name(number) if known else str(number)  # type: ignore[arg-type]
