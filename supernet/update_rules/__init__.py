"""Update rules: in which direction a search changes the architecture weights, and the shared weights."""

from supernet.update_rules.first_order import FirstOrder, MixedLevel, SingleLevel
from supernet.update_rules.neighbourhood import NeighbourhoodAveraged
from supernet.update_rules.problem import Batch, Pass, Problem
from supernet.update_rules.rule import Gradients, UpdateRule
from supernet.update_rules.second_order import Bilevel, MixedLevelSecondOrder, SecondOrder, SecondOrderExact
from supernet.update_rules.virtual import VirtualStep, virtual_step

__all__ = [
    "Batch",
    "Bilevel",
    "FirstOrder",
    "Gradients",
    "MixedLevel",
    "MixedLevelSecondOrder",
    "NeighbourhoodAveraged",
    "Pass",
    "Problem",
    "SecondOrder",
    "SecondOrderExact",
    "SingleLevel",
    "UpdateRule",
    "VirtualStep",
    "virtual_step",
]
