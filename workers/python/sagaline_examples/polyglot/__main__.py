"""`python -m sagaline_examples.polyglot [NODE]`: the worker of a node, or of `car`. See workers/README.md."""

from __future__ import annotations

import logging
import os
import sys

from sagaline import Worker
from sagaline_examples.polyglot.actions import booking, confirm, prepare


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    node = sys.argv[1] if len(sys.argv) > 1 else "car"
    prepare()
    actions = [booking(node), confirm] if node == "car" else [booking(node)]
    Worker(os.environ["SAGALINE_ADDRESS"], actions=actions, slots=int(os.environ["SAGALINE_SLOTS"])).run_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
