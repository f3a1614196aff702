"""The contract of a search method as a test class, for the methods here and for those of others.

Subclass :class:`SearchMethodContract` in a test module, supply the fixture ``build``, and pytest runs it::

    from crlso.search.testing import SearchMethodContract

    class TestMyMethod(SearchMethodContract):
        @pytest.fixture
        def build(self):
            return lambda space, seed: MyMethod(space, seed=seed)

A method for several objectives keeps :class:`SeveralObjectivesContract` too. Needs pytest and torch.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
import pytest

from crlso.protocols import Codes, FloatArray, Goal, SearchMethod, SearchSpace
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.runs.proposals import Proposals
from crlso.spaces import EdgeCellSpace, Subset, get_space

Build = Callable[[SearchSpace, int], SearchMethod]
"""Makes a fresh method over a space, with a seed."""
BuildFor = Callable[[SearchSpace, int, Goal], SearchMethod]
"""Makes a fresh method over a space, with a seed, for objectives and constraints."""

GOALS: Final = (Goal(2), Goal(3), Goal(1, 1), Goal(2, 2))
"""What the contract of several objectives is tested with."""


class SearchMethodContract:
    """What every :class:`~crlso.protocols.SearchMethod` must do; each test states one clause."""

    evaluations: ClassVar[int] = 45
    """How long a search of the contract is: long enough to reach all stages of the method."""
    failing: ClassVar[float] = 0.3
    """Share of failed evaluations where failures are tested."""

    @pytest.fixture
    def build(self) -> Build:
        """How a method is made: to be supplied by the subclass."""
        raise NotImplementedError("supply a fixture `build` that returns a function (space, seed) -> method")

    @pytest.fixture
    def space(self) -> SearchSpace:
        """Where most of the contract is tested."""
        return get_space("nasbench201")

    def test_proposes_valid_architectures(self, build: Build, space: SearchSpace) -> None:
        """Every proposal is a code of the space, of its type."""
        method = build(space, 0)
        for _ in range(self.evaluations):
            codes = method.ask(1)
            assert codes.dtype == np.int16
            assert codes.shape == (1, len(space.cardinalities))
            assert space.is_valid(codes).all()
            method.tell(codes, objective(space, codes))

    def test_asks_for_at_most_n(self, build: Build, space: SearchSpace) -> None:
        """A larger ``n`` gives one proposal or more, never more than ``n``."""
        method = build(space, 0)
        for _ in range(5):
            codes = method.ask(8)
            assert 1 <= len(codes) <= 8
            assert space.is_valid(codes).all()
            method.tell(codes, objective(space, codes))

    def test_same_seed_same_search(self, build: Build, space: SearchSpace) -> None:
        """A seed decides the whole search, and another seed gives another one."""
        first, again, other = (run(build(space, seed), space, self.evaluations) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_leaves_numpy_alone(self, build: Build, space: SearchSpace) -> None:
        """The search neither uses nor changes numpy's global generator."""
        before = np.random.get_state(legacy=False)  # noqa: NPY002 (this is what is tested)
        run(build(space, 0), space, self.evaluations)
        after = np.random.get_state(legacy=False)  # noqa: NPY002
        np.testing.assert_equal(after, before)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
    def test_goes_on_from_its_state(self, build: Build, space: SearchSpace, share: float) -> None:
        """A state that went through a file gives the same next proposals, bit for bit."""
        done = max(1, int(self.evaluations * share))
        method = build(space, 5)
        past = run(method, space, done)
        resumed = build(space, 99)
        resumed.load_state_dict(through_file(method.state_dict()))
        rest = self.evaluations - done
        np.testing.assert_array_equal(
            run(resumed, space, rest, past=past), run(method, space, rest, past=past)
        )

    def test_bears_failures(self, build: Build, space: SearchSpace) -> None:
        """Failed evaluations (NaN), also at the start, do not stop the search."""
        failures = np.random.default_rng(7).random(self.evaluations) < self.failing
        failures[:3] = True

        def value(number: int, codes: Codes) -> FloatArray:
            return np.full((1, 1), np.nan) if failures[number] else objective(space, codes)

        assert len(run(build(space, 0), space, self.evaluations, value=value)) == self.evaluations

    def test_bears_nothing_but_failures(self, build: Build, space: SearchSpace) -> None:
        """A search in which everything fails still proposes."""
        run(build(space, 0), space, self.evaluations, value=lambda number, codes: np.full((1, 1), np.nan))

    def test_bears_equal_values(self, build: Build, space: SearchSpace) -> None:
        """Values without any difference do not stop the search."""
        run(build(space, 0), space, self.evaluations, value=lambda number, codes: np.full((1, 1), 3.5))

    def test_stays_in_a_subset(self, build: Build, space: SearchSpace) -> None:
        """Over a partial table only its members are proposed."""
        members = np.unique(space.sample(200, np.random.default_rng(0)), axis=0)
        subset = Subset(space, members)
        proposed = run(build(subset, 0), subset, self.evaluations)
        assert {tuple(code) for code in proposed.tolist()} <= {tuple(code) for code in members.tolist()}

    @pytest.mark.parametrize("operations", [["none"], ["none", "skip_connect"]])
    def test_bears_tiny_spaces(self, build: Build, operations: list[str]) -> None:
        """A space of one or two architectures: the run loop's rule ends the search when all are seen."""
        space = EdgeCellSpace("tiny", nodes=2, operations=operations)
        method = build(space, 0)
        proposals = Proposals(method, space, "code", 0)
        for trial in range(1, len(operations) + 1):
            code = proposals.next(trial)
            assert code is not None
            method.tell(code[None], objective(space, code[None]))
        assert proposals.next(len(operations) + 1) is None

    def test_is_told_what_it_did_not_propose(self, build: Build, space: SearchSpace) -> None:
        """The run loop helps out with architectures of its own: these are told like any other."""
        method = build(space, 0)
        rng = np.random.default_rng(1)
        for _ in range(10):
            method.ask(1)
            codes = space.sample(1, rng)
            method.tell(codes, objective(space, codes))
        assert space.is_valid(method.ask(1)).all()

    def test_diagnostics_are_arrays(self, build: Build, space: SearchSpace) -> None:
        """What there is to show, is arrays of numbers under texts."""
        method = build(space, 0)
        run(method, space, self.evaluations)
        for name, values in method.diagnostics().items():
            assert isinstance(name, str)
            assert isinstance(values, np.ndarray)
            assert values.dtype.kind in "iufb"


class SeveralObjectivesContract:
    """What a method for several objectives must do as well; each test states one clause."""

    evaluations: ClassVar[int] = 45
    """How long a search of the contract is: long enough to reach all stages of the method."""

    @pytest.fixture
    def build_for(self) -> BuildFor:
        """How a method is made: to be supplied by the subclass."""
        raise NotImplementedError("supply a fixture `build_for`: a function (space, seed, goal) -> method")

    @pytest.fixture
    def space(self) -> SearchSpace:
        """Where the contract is tested."""
        return get_space("nasbench201")

    @pytest.mark.parametrize("goal", GOALS, ids=str)
    def test_same_seed_same_search(self, build_for: BuildFor, space: SearchSpace, goal: Goal) -> None:
        """A seed decides the whole search, and another seed gives another one."""
        value = _valued(space, goal)
        first, again, other = (
            run(build_for(space, seed, goal), space, self.evaluations, value=value) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize("goal", GOALS, ids=str)
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
    def test_goes_on_from_its_state(
        self, build_for: BuildFor, space: SearchSpace, goal: Goal, share: float
    ) -> None:
        """A state that went through a file gives the same next proposals, bit for bit."""
        done, value = max(1, int(self.evaluations * share)), _valued(space, goal)
        method = build_for(space, 5, goal)
        past = run(method, space, done, value=value)
        resumed = build_for(space, 99, goal)
        resumed.load_state_dict(through_file(method.state_dict()))
        rest = self.evaluations - done
        np.testing.assert_array_equal(
            run(resumed, space, rest, past=past, value=value),
            run(method, space, rest, past=past, value=value),
        )

    @pytest.mark.parametrize("goal", GOALS, ids=str)
    @pytest.mark.parametrize("share", [0.3, 1.0])
    def test_bears_failures(self, build_for: BuildFor, space: SearchSpace, goal: Goal, share: float) -> None:
        """Failed evaluations, rows of NaN, do not stop the search, even where all fail."""
        failures = np.random.default_rng(7).random(self.evaluations) < share
        failures[:3] = True

        def value(number: int, codes: Codes) -> FloatArray:
            told = objectives(space, codes, goal)
            return np.full_like(told, np.nan) if failures[number] else told

        proposed = run(build_for(space, 0, goal), space, self.evaluations, value=value)
        assert len(proposed) == self.evaluations

    @pytest.mark.parametrize("goal", GOALS, ids=str)
    def test_bears_what_never_meets_a_constraint(
        self, build_for: BuildFor, space: SearchSpace, goal: Goal
    ) -> None:
        """Equal values, and negative margins alone, do not stop the search."""
        told = np.array([[1.0] * goal.objectives + [-1.0] * goal.constraints])
        proposed = run(build_for(space, 0, goal), space, self.evaluations, value=lambda number, codes: told)
        assert len(proposed) == self.evaluations


def _valued(space: SearchSpace, goal: Goal) -> Callable[[int, Codes], FloatArray]:
    return lambda number, codes: objectives(space, codes, goal)


def objectives(space: SearchSpace, codes: Codes, goal: Goal) -> FloatArray:
    """``[n, objectives + constraints]``: smooth functions with a maximum each; some margins met."""
    columns = [
        objective(space, (codes + shift) % np.array(space.cardinalities))[:, 0]
        for shift in range(goal.objectives + goal.constraints)
    ]
    margins = [column + 15.0 for column in columns[goal.objectives :]]
    return np.stack([*columns[: goal.objectives], *margins], axis=1)


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state after saving and loading as a checkpoint, which admits plain data, arrays and tensors only."""
    return parse_state(io.BytesIO(dump_state(state)))


def run(
    method: SearchMethod,
    space: SearchSpace,
    evaluations: int,
    *,
    past: Codes | None = None,
    value: Callable[[int, Codes], FloatArray] | None = None,
) -> Codes:
    """``[evaluations, d]``: what a method proposes under the run loop's rules, with known values.

    Args:
        method: The method; it is told what it proposes.
        space: The space that it searches, with at least so many architectures.
        evaluations: How many.
        past: ``[n, d]`` what it was told before, which is not evaluated again.
        value: Number of the evaluation and ``[1, d]`` code to ``[1, 1]`` value; default: a smooth function
        with
            one maximum.
    """
    proposals = Proposals(method, space, "code", 0)
    start = 0 if past is None else len(past)
    if past is not None:
        proposals.remember(past)
    proposed = []
    for number in range(start, start + evaluations):
        code = proposals.next(number)
        assert code is not None, "the space is too small for this test"
        codes = code[None]
        method.tell(codes, objective(space, codes) if value is None else value(number, codes))
        proposed.append(code)
    return np.stack(proposed)


def objective(space: SearchSpace, codes: Codes) -> FloatArray:
    """``[n, 1]``: a fixed smooth function of the codes with one maximum, different for all codes."""
    weights = np.sqrt(np.arange(2, 2 + len(space.cardinalities)))
    wanted = np.arange(len(space.cardinalities)) % np.array(space.cardinalities)
    value: FloatArray = -(np.abs(codes - wanted) @ weights)
    return value[:, None]
