"""What the kit raises where something does not hold. All are AssertionErrors: a test that meets one has failed.

```
CheckFailed
├── NotIdempotent      an action or undo action that came twice did more, or answered otherwise, than once
├── NotUndone          a saga unwound, or an undo won, and the world is not as before
├── NotReached         the node at which something was to go wrong never came
├── WrongEnd           a saga came to another end than it should
├── NotHappening       a saga waits for something that will not come by itself
└── NoEnd              a node is tried again and again
```
"""

from __future__ import annotations


class CheckFailed(AssertionError):
    """Something does not hold.

    Attributes:
        node: Node that it is about; empty where that is not known.
        action: Action of that node; empty where that is not known.
    """

    def __init__(self, message: str, *, node: str = "", action: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.action = action


class NotIdempotent(CheckFailed):
    """What came twice did more, or answered otherwise, than what comes once."""


class NotUndone(CheckFailed):
    """The world is not as it was before."""


class NotReached(CheckFailed):
    """The node at which something was to go wrong never came, so nothing was proved."""


class WrongEnd(CheckFailed):
    """A saga came to another end than it should."""


class NotHappening(CheckFailed):
    """A saga waits for something that will not come by itself: a signal, an operator, a worker."""


class NoEnd(CheckFailed):
    """A node is tried again and again, and there is no end of it."""
