"""All planted bugs, by name."""

from __future__ import annotations

from tests.simulation.mutants import execution, keeping, steering
from tests.simulation.mutants.planting import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "execution", "keeping", "steering"]
