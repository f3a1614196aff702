"""NSGA-II: Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II".

Who survives is decided by pymoo (Blank and Deb 2020), an extra: ``pip install "crlso[pymoo]"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Code, Codes, FloatArray, Goal, SearchSpace
from crlso.search.adapter import import_extra
from crlso.search.rng import rng_state, set_rng_state


@dataclass(frozen=True)
class NSGA2Settings:
    """Settings of NSGA-II; the default population suits budgets of about 100 evaluations.

    Attributes:
        population: Architectures in a generation; so many random ones come first.
        crossover: Probability that a child mixes two parents; else it comes from one.
        mutation: Probability that a child is edited once. One that equals a parent is edited in any case.
    """

    population: int = 10
    crossover: float = 0.9
    mutation: float = 1.0

    def __post_init__(self) -> None:
        if self.population < 2:
            raise UserError(f"nsga2: population={self.population}; it must be 2 or more")
        for name in ("crossover", "mutation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"nsga2: {name}={getattr(self, name)}; it must be from 0 to 1")


@final
class NSGA2:
    """Generations of parents and children; survivors by rank of dominance, then by crowding distance.

    Parents are drawn by binary tournaments: smaller violation of constraints first, then smaller rank, then
    larger crowding distance, then chance. A child takes each entry from either parent with equal probability,
    is repaired by the space, and edited once (:meth:`SearchSpace.neighbors`). When as many children were told
    as there are parents, pymoo's ``RankAndCrowding`` picks the next parents among both. What violates
    constraints, by the sum of its negative margins, ranks below all that meets them; a failed evaluation
    (NaN) below both.

    Departures from the paper: codes have no order, so that its real-coded crossover and mutation have no
    meaning here; a pair of parents has one child; a child that the run loop drops is never told and replaced
    by the next one. With a single objective this is a genetic algorithm with an elite.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, settings: NSGA2Settings, goal: Goal | None = None
    ) -> None:
        self._space = space
        self._settings = settings
        self._goal = goal or Goal()
        self._survival = _Survival(self._goal.objectives)
        self._rng = np.random.default_rng(seed)
        columns = self._goal.objectives + self._goal.constraints
        empty: Codes = np.zeros((0, len(space.cardinalities)), CODE_DTYPE)
        self._parents = _Generation(empty, np.zeros((0, columns)))
        self._children = self._parents
        self._rank: NDArray[np.int64] = np.zeros(0, np.int64)
        self._crowding: FloatArray = np.zeros(0)

    def ask(self, n: int) -> Codes:
        """``[n, d]``: random architectures before the first generation is complete, then children."""
        if not len(self._parents.codes):
            return self._space.sample(n, self._rng)
        return np.stack([self._child() for _ in range(n)])

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Adds children; a complete generation is followed by the next. Shapes: ``[n, d]``, ``[n, m]``."""
        self._children = self._children.joined(_Generation(codes, values))
        size = self._settings.population
        while len(self._children.codes) >= size:
            complete, self._children = (
                self._children.part(slice(size)),
                self._children.part(slice(size, None)),
            )
            pool = self._parents.joined(complete)
            chosen, rank, crowding = self._survival(
                pool.objectives(self._goal), self._violation(pool), size, self._rng
            )
            self._parents, self._rank, self._crowding = pool.part(chosen), rank, crowding

    def _violation(self, generation: _Generation) -> FloatArray:
        """``[n]``: sum of violations; what failed has more than all others."""
        margins = generation.values[:, self._goal.objectives :]
        violation: FloatArray = np.maximum(-margins, 0.0).sum(axis=1)
        failed = np.isnan(generation.values).any(axis=1)
        violation[failed] = violation[~failed].max(initial=0.0) + 1.0
        return violation

    def _child(self) -> Code:
        first, second = (self._parents.codes[self._winner()] for _ in range(2))
        child = first
        if self._rng.random() < self._settings.crossover:
            mixed = np.where(self._rng.random(len(first)) < 0.5, first, second).astype(CODE_DTYPE)
            child = self._space.repair(mixed[None])[0]
        copied = np.array_equal(child, first) or np.array_equal(child, second)
        if copied or self._rng.random() < self._settings.mutation:
            near = self._space.neighbors(child)
            if not len(near):
                near = self._space.sample(1, self._rng)
            child = near[self._rng.integers(len(near))]
        result: Code = child
        return result

    def _winner(self) -> int:
        """Row of the parent that wins a tournament between two different ones."""
        pair = self._rng.permutation(len(self._parents.codes))[:2]
        violation = self._violation(self._parents.part(pair))
        # The last key counts most; the pair is in random order, which decides between equals.
        order = np.lexsort((-self._crowding[pair], self._rank[pair], violation))
        return int(pair[order[0]])

    def state_dict(self) -> dict[str, Any]:
        """Generator, parents with ranks and crowding distances, children told so far."""
        return {
            "rng": rng_state(self._rng),
            "parents": self._parents.codes,
            "values": self._parents.values,
            "rank": self._rank,
            "crowding": self._crowding,
            "children": self._children.codes,
            "children_values": self._children.values,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])
        self._parents = _Generation(np.array(state["parents"], CODE_DTYPE), np.array(state["values"]))
        self._rank, self._crowding = np.array(state["rank"]), np.array(state["crowding"])
        self._children = _Generation(
            np.array(state["children"], CODE_DTYPE), np.array(state["children_values"])
        )

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to show."""
        return {}


@dataclass(frozen=True)
class _Generation:
    """Codes ``[n, d]`` and what was told of them ``[n, m]``."""

    codes: Codes
    values: FloatArray

    def joined(self, other: _Generation) -> _Generation:
        """Both, one after the other."""
        return _Generation(
            np.concatenate([self.codes, other.codes]), np.concatenate([self.values, other.values])
        )

    def part(self, rows: slice | NDArray[np.intp]) -> _Generation:
        """Some rows."""
        return _Generation(self.codes[rows], self.values[rows])

    def objectives(self, goal: Goal) -> FloatArray:
        """``[n, objectives]`` without gaps: 0 for what failed, which no comparison looks at."""
        return np.nan_to_num(self.values[:, : goal.objectives], nan=0.0)


@final
class _Survival:
    """pymoo's ``RankAndCrowding`` over plain arrays, so that nothing of pymoo is part of a state.

    Args:
        objectives: Number of objectives.

    Raises:
        UserError: pymoo is not installed.
    """

    def __init__(self, objectives: int) -> None:
        pymoo = partial(import_extra, method="nsga2", library="pymoo", extra="pymoo")
        self._population = pymoo("pymoo.core.population").Population
        operators = pymoo("pymoo.operators.survival.rank_and_crowding")
        problem = pymoo("pymoo.core.problem").Problem
        self._operator = operators.RankAndCrowding()
        self._problem = problem(n_var=1, n_obj=objectives, n_ieq_constr=1)

    def __call__(
        self, objectives: FloatArray, violation: FloatArray, size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], FloatArray]:
        """The survivors' rows ``[size]``, their ranks (0 is best) and crowding distances.

        Args:
            objectives: ``[n, m]``, to be maximised.
            violation: ``[n]``, 0 for what meets all constraints.
            size: How many survive.
            rng: Decides between equals.
        """
        population = self._population.new(F=-objectives, G=violation[:, None])
        chosen = self._operator.do(
            self._problem, population, n_survive=size, random_state=rng, return_indices=True
        )
        rows = np.array(chosen, dtype=np.intp)
        # What violates constraints has neither: its violation comes first in every comparison.
        ranks = [population[row].get("rank") for row in rows]
        rank = np.array([-1 if each is None else each for each in ranks], dtype=np.int64)
        distances = [population[row].get("crowding") for row in rows]
        crowding = np.array([0.0 if each is None else each for each in distances], dtype=np.float64)
        return rows, rank, crowding
