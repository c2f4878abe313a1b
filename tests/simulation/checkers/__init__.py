"""One promise a file. Each is watched over the whole run, at the moment at which it could be broken."""

from __future__ import annotations

from tests.simulation.checkers.acknowledgements import Acknowledgements
from tests.simulation.checkers.adoption import Adoption
from tests.simulation.checkers.alarms import Alarms
from tests.simulation.checkers.calm import Calm
from tests.simulation.checkers.checker import Checker
from tests.simulation.checkers.commitment import Commitment
from tests.simulation.checkers.creates import Creates
from tests.simulation.checkers.effects import Effects
from tests.simulation.checkers.fencing import Fencing
from tests.simulation.checkers.handing_off import HandingOff
from tests.simulation.checkers.held_actions import HeldActions
from tests.simulation.checkers.injected import Injected
from tests.simulation.checkers.inputs import Inputs
from tests.simulation.checkers.legal_order import LegalOrder
from tests.simulation.checkers.limiting import Limiting
from tests.simulation.checkers.log_order import LogOrder
from tests.simulation.checkers.orders import Orders
from tests.simulation.checkers.replay import Replay
from tests.simulation.checkers.retention import Retention
from tests.simulation.checkers.runs import Runs
from tests.simulation.checkers.set_aside import SetAside
from tests.simulation.checkers.terminal import Terminal
from tests.simulation.checkers.undo_goes_on import UndoGoesOn
from tests.simulation.checkers.undo_wins import UndoWins
from tests.simulation.checkers.watches import Watches
from tests.simulation.checkers.write_ahead import WriteAhead
from tests.simulation.scene import Scene

CHECKERS: tuple[type[Checker], ...] = (
    LogOrder,
    LegalOrder,
    WriteAhead,
    Acknowledgements,
    UndoWins,
    Terminal,
    Creates,
    Effects,
    Fencing,
    Adoption,
    HandingOff,
    Replay,
    Runs,
    Watches,
    Orders,
    Retention,
    Calm,
    SetAside,
    Injected,
    Limiting,
    UndoGoesOn,
    HeldActions,
    Inputs,
    Commitment,
    Alarms,
)
"""In the order in which they look: the legal order is what brings the ledger's sagas up to date."""


def all_checkers(scene: Scene) -> list[Checker]:
    """Return a checker of each kind for a scene."""
    return [checker(scene) for checker in CHECKERS]
