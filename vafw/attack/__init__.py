"""The attack range: threats as scenarios that run against a modelled machine, and the mechanisms that stop them.

A new attack is a generator function and a `Scenario` in the `SCENARIOS` of its family's module; a new family is a
module whose `SCENARIOS` stand in `roster`.
"""

from vafw.attack.computer import Computer, Supplies
from vafw.attack.matrix import Row, as_declared, matrix, run_all
from vafw.attack.mechanism import MEANING, Mechanism
from vafw.attack.roster import SCENARIOS, named
from vafw.attack.scenario import Attempt, NotApplicable, Outcome, Scenario, Verdict, layer, run
from vafw.attack.target import Target

__all__ = [
    "SCENARIOS",
    "named",
    "Scenario",
    "layer",
    "Attempt",
    "Verdict",
    "Outcome",
    "Mechanism",
    "MEANING",
    "Supplies",
    "Target",
    "Computer",
    "run",
    "run_all",
    "matrix",
    "Row",
    "as_declared",
    "NotApplicable",
]
