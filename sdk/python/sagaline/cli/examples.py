"""An example for the help of each command. A test reads every one as its command would."""

from __future__ import annotations

from collections.abc import Mapping

import click

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "dev": ("sagaline dev", "sagaline dev --listen 127.0.0.1:7433 --web 127.0.0.1:8080"),
    "server": (
        "sagaline server --set data_dir=/var/lib/sagaline --set metrics_listen=127.0.0.1:9090",
        "sagaline server --config /etc/sagaline.toml --set sec_id=sec-1",
    ),
    "worker": ("sagaline worker trip:actions", "sagaline worker trip:actions --slots 20 --address a:7070,b:7070"),
    "create": (
        """sagaline create trip:graph --params '"card-1"'""",
        "sagaline create saga.json --id order-17 --label team=a --scope rack/17 --deadline 1h",
    ),
    "run": (
        """sagaline run trip:graph --params '"card-1"'""",
        "sagaline run trip.json --until hotel --dump trip.jsonl",
    ),
    "get": ("sagaline get order-17", "sagaline get order-17 -o json"),
    "list": (
        "sagaline list --needs-operator",
        "sagaline list --state running --graph trip --idle-for 1h -o json",
        "sagaline list --failed-node hotel --created-from 2h",
        "sagaline list --archive /var/lib/sagaline-archive --state unwound",
    ),
    "count": ("sagaline count --graph trip",),
    "watch": ("sagaline watch order-17", "sagaline watch order-17 --from 12 -o json"),
    "wait": ("sagaline wait order-17 --for 30s",),
    "log": ("sagaline log order-17 --follow", "sagaline log order-17 --archive /var/lib/sagaline-archive"),
    "graph": ("sagaline graph order-17", "sagaline graph trip:graph --as dot"),
    "pause": ("sagaline pause order-17 --reason 'the bank is down'",),
    "resume": ("sagaline resume order-17",),
    "step": ("sagaline step order-17", "sagaline step order-17 3"),
    "break": ("sagaline break order-17 hotel:undo pay", "sagaline break order-17"),
    "debug": ("sagaline debug order-17",),
    "unwind": ("sagaline unwind order-17 --reason 'the customer has left'",),
    "signal": ("sagaline signal order-17 approved --json true",),
    "resolve": (
        "sagaline resolve order-17 pay --retry --reason 'the bank is back'",
        "sagaline resolve order-17 pay --mark-failed --seen 14 --reason 'the bank knows no such transfer'",
        "sagaline resolve order-17 pay --mark-undone --reason 'refunded by hand, receipt 4711'",
    ),
    "inject": ("sagaline inject order-17 hotel action-error",),
    "workers": ("sagaline workers",),
    "why": ("sagaline why order-17",),
    "dump": ("sagaline dump order-17 order-17.jsonl",),
    "replay": (
        "sagaline replay order-17.jsonl --to 12",
        "sagaline replay order-17 --archive /var/lib/sagaline-archive",
    ),
    "batch pause": ("sagaline batch pause --graph trip --reason 'release 7 is bad' --dry-run",),
    "batch resume": ("sagaline batch resume --graph trip",),
    "batch unwind": ("sagaline batch unwind --label release=7 --reason 'release 7 is bad'",),
    "admin secs": ("sagaline admin secs --address a:7070,b:7070",),
    "admin health": ("sagaline admin health --address a:7070,b:7070",),
    "admin handoff": ("sagaline admin handoff order-17 --to sec-2",),
    "admin drain": ("sagaline admin drain sec-1",),
    "admin quarantine": ("sagaline admin quarantine order-17 --reason 'something is odd'",),
    "admin release": ("sagaline admin release order-17 --reason 'looked at'",),
    "admin limit list": ("sagaline admin limit list",),
    "admin limit set": (
        "sagaline admin limit set --scope rack/17 --max-running 3 --max-failing 1",
        "sagaline admin limit set --action book --max-in-flight 20 --per-second 50",
    ),
    "admin limit remove": ("sagaline admin limit remove --action book",),
    "admin break list": ("sagaline admin break list",),
    "admin break set": ("sagaline admin break set book --reason 'the hotel is down'",),
    "admin break clear": ("sagaline admin break clear book",),
}


def with_examples(command: click.Command, path: str) -> click.Command:
    """Put examples below the help of a command, and of those that it groups."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            with_examples(inner, f"{path} {name}")
    elif path in EXAMPLES and command.epilog is None:
        command.epilog = "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in EXAMPLES[path])))
    return command
