"""Draw a node's states from the transition table, as mermaid.

    scripts/make_diagram.py            print the diagram
    scripts/make_diagram.py --write    put it into ARCHITECTURE.md, between its markers
    scripts/make_diagram.py --check    exit 1 where ARCHITECTURE.md has another

The markers are two HTML comments on lines of their own; see BEGIN and END.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sagaline_server.core.transitions import SETTLED, TRANSITIONS, Event, NodeStatus

PAGE = Path(__file__).resolve().parent.parent / "ARCHITECTURE.md"
BEGIN = "<!-- diagram:begin -->"
END = "<!-- diagram:end -->"


def diagram() -> str:
    """Return the diagram: one arrow for each pair of statuses, with the events that lead from one to the other."""
    labels: dict[tuple[NodeStatus, NodeStatus], list[Event]] = {}
    for event, moves in TRANSITIONS.items():
        for old, new in moves.items():
            if old is not new:
                labels.setdefault((old, new), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {NodeStatus.PENDING.name}"]
    for (old, new), events in sorted(labels.items()):
        lines.append(f"    {old.name} --> {new.name}: {' / '.join(event.name for event in events)}")
    # Going forward, a node that has succeeded asks for nothing more either.
    ends = sorted(SETTLED | {NodeStatus.SUCCEEDED})
    lines += [f"    {status.name} --> [*]" for status in ends]
    return "\n".join([*lines, "```"])


def events() -> str:
    """Return a table that says what each event is."""
    rows = [f"| `{event.name}` | {event.value} |" for event in Event]
    return "\n".join(["| event | what happens |", "| --- | --- |", *rows])


def put_into(page: str) -> str:
    """Return the page with the diagram between its markers.

    Raises:
        ValueError: The page has no such markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs these two lines: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{diagram()}\n\n{events()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    match arguments:
        case []:
            print(diagram())
            print()
            print(events())
        case ["--write"]:
            PAGE.write_text(put_into(PAGE.read_text()))
        case ["--check"]:
            if put_into(PAGE.read_text()) != PAGE.read_text():
                print(f"{PAGE.name} is stale: run scripts/make_diagram.py --write", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
