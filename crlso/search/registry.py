"""Search methods by name, with settings that may come as text from a command line.

Modules are named, not imported: listing methods, or running random search, does not import torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Goal, SearchMethod, SearchSpace
from crlso.settings import fill_settings


@dataclass(frozen=True)
class MethodEntry:
    """Where a method lives.

    Attributes:
        module: Module to import when the method is first used.
        method: Class in it: ``Method(space, *, seed, settings)``; ``Method(space, *, seed, settings, goal)``
            of a method for several objectives.
        settings: Frozen dataclass of its settings, in the same module.
        summary: One line for help texts.
        objectives: ``several``: the method is told all objectives and the margins of constraints, see
            :class:`~crlso.protocols.Goal`; ``one``: it is told one value.
        warm: Whether it can begin with what another task says: it is a
            :class:`~crlso.protocols.WarmStarting`.
        cold: Values of settings with which it can not nevertheless.
    """

    module: str
    method: str
    settings: str
    summary: str
    objectives: Literal["one", "several"] = "one"
    warm: bool = False
    cold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def warm_text(self, name: str) -> str:
        """The method's name, with the settings that take no warm start."""
        but = " or ".join(f"{key}={value}" for key, values in self.cold.items() for value in values)
        return f"{name} (not with {but})" if but else name

    def settings_class(self) -> type[Any]:
        """The dataclass of the method's settings."""
        found: type[Any] = getattr(importlib.import_module(self.module), self.settings)
        return found

    def build(
        self, space: SearchSpace, *, seed: int, settings: Any, goal: Goal | None = None
    ) -> SearchMethod:
        """A fresh method; ``goal`` reaches those for several objectives only."""
        more = {"goal": goal or Goal()} if self.objectives == "several" else {}
        method: SearchMethod = getattr(importlib.import_module(self.module), self.method)(
            space, seed=seed, settings=settings, **more
        )
        return method


METHODS: Final[Mapping[str, MethodEntry]] = MappingProxyType(
    {
        "bananas": MethodEntry(
            "crlso.search.bananas",
            "Bananas",
            "BananasSettings",
            "BANANAS: ensemble of networks, Thompson sampling among mutants of the best",
        ),
        "bo": MethodEntry(
            "crlso.search.bo",
            "BO",
            "BOSettings",
            "Gaussian process on graphs, expected improvement",
        ),
        "crlso": MethodEntry(
            "crlso.search.crlso",
            "CRLSO",
            "CRLSOSettings",
            "convex latent search",
            objectives="several",
            warm=True,
            cold={"head": ("icnn", "network")},
        ),
        "crlso-paper": MethodEntry(
            "crlso.search.crlso_paper",
            "CRLSOPaper",
            "CRLSOPaperSettings",
            "CR-LSO as published; its first 300 evaluations are random",
        ),
        "evolution": MethodEntry(
            "crlso.search.evolution", "Evolution", "EvolutionSettings", "regularised evolution"
        ),
        "local": MethodEntry(
            "crlso.search.local", "LocalSearch", "LocalSettings", "local search, first improvement, restarts"
        ),
        "nsga2": MethodEntry(
            "crlso.search.nsga2",
            "NSGA2",
            "NSGA2Settings",
            "NSGA-II, for several objectives and constraints (extra pymoo)",
            "several",
        ),
        "random": MethodEntry(
            "crlso.search.random_search", "RandomSearch", "RandomSettings", "random search", "several"
        ),
        "reinforce": MethodEntry(
            "crlso.search.reinforce", "Reinforce", "ReinforceSettings", "REINFORCE, a softmax per position"
        ),
        "ridge": MethodEntry(
            "crlso.search.ridge", "Ridge", "RidgeSettings", "greedy, by ridge regression on pairs of entries"
        ),
        "syne-tune": MethodEntry(
            "crlso.search.syne_tune",
            "SyneTune",
            "SyneTuneSettings",
            "BORE of Syne Tune, boosted trees; needs the extra syne-tune",
        ),
        "tpe": MethodEntry(
            "crlso.search.tpe",
            "TPE",
            "TPESettings",
            "tree-structured Parzen estimator of Optuna; needs the extra optuna",
        ),
    }
)
"""All methods by name."""

WARM_LIST: Final = ", ".join(entry.warm_text(name) for name, entry in METHODS.items() if entry.warm)
"""The methods that can begin with an earlier run, for messages."""


def parse_method(text: str) -> tuple[str, dict[str, str]]:
    """Splits ``name:key=value:key=value``.

    Raises:
        UserError: A part is not ``key=value``, or a key comes twice.
        UnknownNameError: There is no such method.

    Example:
        >>> parse_method("evolution:population=20:sample=5")
        ('evolution', {'population': '20', 'sample': '5'})
    """
    name, *parts = text.split(":")
    _entry(name)
    settings: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise UserError(f"method {text!r}: {part!r} is no setting; write name:key=value:key=value")
        if key in settings:
            raise UserError(f"method {text!r}: setting {key!r} is given twice")
        settings[key] = value
    return name, settings


def make_settings(name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The method's settings dataclass from names and values; texts are converted to the fields' types.

    Raises:
        UnknownNameError: Unknown method or setting.
        UserError: A value of the wrong type or outside its range.
    """
    return fill_settings(_entry(name).settings_class(), name, settings or {})


def takes_warm_start(name: str, settings: Any) -> bool:
    """Whether a method with these settings, its complete dataclass, can begin with another task.

    Raises:
        UnknownNameError: There is no such method.
    """
    entry = _entry(name)
    return entry.warm and all(getattr(settings, key) not in values for key, values in entry.cold.items())


def make_method(
    name: str,
    space: SearchSpace,
    *,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    goal: Goal | None = None,
) -> SearchMethod:
    """A fresh search method.

    Args:
        name: One of :data:`METHODS`.
        space: Where to search; for a partial table its :class:`~crlso.spaces.Subset`.
        seed: Of everything the method draws.
        settings: Settings that differ from the method's defaults.
        goal: What the columns of values are that it will be told; one objective by default.

    Raises:
        UnknownNameError: Unknown method or setting.
        UserError: A value of the wrong type or outside its range.

    Example:
        >>> from crlso.spaces import get_space
        >>> method = make_method("random", get_space("nasbench201"), seed=0)
        >>> method.ask(1).shape
        (1, 6)
    """
    return _entry(name).build(space, seed=seed, settings=make_settings(name, settings), goal=goal)


def _entry(name: str) -> MethodEntry:
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]
