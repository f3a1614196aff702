"""The contract of a search space as a test class, for the spaces here and for those of others.

Subclass :class:`SpaceContract` in a test module, supply the fixture ``space``, and pytest runs the contract::

    from crlso.spaces.testing import SpaceContract

    class TestMySpace(SpaceContract):
        @pytest.fixture
        def space(self):
            return MySpace()

The class attributes say what the contract may expect beyond the protocol. Needs pytest and networkx.
"""

from __future__ import annotations

import itertools
import pickle
from typing import TYPE_CHECKING, Any, ClassVar, cast

import networkx as nx
import numpy as np
import pytest

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, Codes, Rule, SearchSpace

if TYPE_CHECKING:
    from torch_geometric.data import Data

_ENUMERATED = 20_000  # spaces up to this size are enumerated in full


class SpaceContract:
    """What every :class:`~crlso.protocols.SearchSpace` must do; each test states one clause."""

    rules: ClassVar[tuple[Rule, ...]] = ("code", "exact")
    """Rules of sameness that the space has."""
    all_valid: ClassVar[bool] = False
    """Every code inside the cardinalities is valid, so that there are ``sum(c - 1)`` neighbours."""
    one_edit: ClassVar[bool] = True
    """Neighbours differ in one entry, and neighbourhood is mutual (a :class:`Subset` has neither)."""
    representatives: ClassVar[bool] = True
    """``canonical`` knows representatives (otherwise it must refuse all rules but ``code``)."""
    samples: ClassVar[int] = 100
    """Architectures drawn per test."""
    wrong_texts: ClassVar[tuple[str, ...]] = ("", "|", "nonsense", "{}")
    """Texts that ``parse`` must refuse."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space under test: to be supplied by the subclass."""
        raise NotImplementedError("supply a fixture `space` that returns the space under test")

    @pytest.fixture
    def codes(self, space: SearchSpace) -> Codes:
        """Valid codes, sampled once per test from a fixed seed."""
        return space.sample(self.samples, np.random.default_rng(1))

    def test_description(self, space: SearchSpace) -> None:
        """Names, cardinalities and vocabulary fit together."""
        assert isinstance(space, SearchSpace)
        assert space.name
        assert space.cardinalities
        assert min(space.cardinalities) >= 1
        assert len(set(space.operations)) == len(space.operations)
        assert space.vocabulary == ("input", "output", *space.operations)
        assert space.positions >= 2
        assert 1 <= space.size <= np.prod([float(c) for c in space.cardinalities]) * (1 + 1e-9)

    def test_samples(self, space: SearchSpace, codes: Codes) -> None:
        """Samples have the right shape and type, are valid, and vary."""
        assert codes.shape == (self.samples, len(space.cardinalities))
        assert codes.dtype == CODE_DTYPE
        assert space.is_valid(codes).all()
        assert len(np.unique(codes, axis=0)) > min(space.size, self.samples) // 4
        assert space.sample(0, np.random.default_rng(0)).shape == (0, len(space.cardinalities))
        with pytest.raises(UserError):
            space.sample(-1, np.random.default_rng(0))

    def test_sampling_is_seeded(self, space: SearchSpace, codes: Codes) -> None:
        """The generator decides all of a sample."""
        np.testing.assert_array_equal(codes, space.sample(self.samples, np.random.default_rng(1)))
        if space.size > self.samples:
            assert (codes != space.sample(self.samples, np.random.default_rng(2))).any()

    def test_texts(self, space: SearchSpace, codes: Codes) -> None:
        """``parse`` undoes ``format``, and the text is one line."""
        for code in codes:
            text = space.format(code)
            parsed = space.parse(text)
            assert parsed.dtype == CODE_DTYPE
            np.testing.assert_array_equal(parsed, code)
            assert "\n" not in text

    def test_wrong_texts(self, space: SearchSpace, codes: Codes) -> None:
        """What is no architecture is refused with one line."""
        good = space.format(codes[0])
        for text in (*self.wrong_texts, good + "?", "?" + good, good[:-1], good[: len(good) // 2]):
            with pytest.raises(ArchitectureError) as caught:
                space.parse(text)
            assert "\n" not in str(caught.value)
        with pytest.raises(ArchitectureError):
            space.parse(cast(str, None))

    def test_enumeration(self, space: SearchSpace) -> None:
        """All valid codes, each once, in the same order every time."""
        if space.size > _ENUMERATED:
            first = next(iter(space.enumerate()))
            assert space.is_valid(first).all()
            assert len(np.unique(first, axis=0)) == len(first)
            return
        everything = np.concatenate(list(space.enumerate()))
        assert everything.dtype == CODE_DTYPE
        assert space.is_valid(everything).all()
        assert len(np.unique(everything, axis=0)) == len(everything) <= space.size
        np.testing.assert_array_equal(everything, np.concatenate(list(space.enumerate())))
        if np.prod([float(c) for c in space.cardinalities]) <= _ENUMERATED:
            grid = np.array(list(itertools.product(*map(range, space.cardinalities))))
            assert space.is_valid(grid).sum() == len(everything)

    def test_neighbors(self, space: SearchSpace, codes: Codes) -> None:
        """Neighbours are valid, distinct, never the code itself, and in a fixed order."""
        for code in codes[:20]:
            found = space.neighbors(code)
            assert found.shape[1:] == code.shape
            assert found.dtype == CODE_DTYPE
            assert space.is_valid(found).all()
            assert len(np.unique(found, axis=0)) == len(found)
            np.testing.assert_array_equal(found, space.neighbors(code))
            edits = (found != code).sum(axis=1)
            assert (edits > 0).all()
            if self.one_edit:
                assert (edits == 1).all()
                some = found[:: max(1, len(found) // 5)]
                assert all((space.neighbors(other) == code).all(axis=1).any() for other in some)
            if self.all_valid:
                assert len(found) == sum(c - 1 for c in space.cardinalities)

    def test_validity(self, space: SearchSpace, codes: Codes) -> None:
        """Entries outside their cardinalities are not valid, and are refused where a valid code is needed."""
        for value in (-1, space.cardinalities[0]):
            outside: Any = codes[:3].astype(np.int64)
            outside[1, 0] = value
            np.testing.assert_array_equal(space.is_valid(outside), [True, False, True])
            with pytest.raises(ArchitectureError):
                space.class_keys(outside)
            with pytest.raises(ArchitectureError):
                space.repair(outside)

    def test_wrong_arrays(self, space: SearchSpace, codes: Codes) -> None:
        """Arrays of the wrong shape or type are refused."""
        wrong: Any
        for wrong in (codes[:, :-1], codes[None], codes.astype(np.float64)):
            for call in (space.is_valid, space.repair, space.class_keys, space.graphs):
                with pytest.raises(ArchitectureError):
                    call(wrong)
        with pytest.raises(ArchitectureError):
            space.neighbors(codes)
        with pytest.raises(ArchitectureError):
            space.format(codes)

    def test_arguments_are_not_changed(self, space: SearchSpace, codes: Codes) -> None:
        """Nothing writes into the codes it is given; all integer types and memory orders do."""
        given: Any
        for given in (codes.astype(np.int64), np.asfortranarray(codes), codes.astype(np.uint8)):
            before = given.copy()
            repaired = space.repair(given)
            repaired[:] = 0
            np.testing.assert_array_equal(space.class_keys(given), space.class_keys(codes))
            space.neighbors(given[0])
            space.graphs(given[:2])
            np.testing.assert_array_equal(given, before)

    def test_repair(self, space: SearchSpace, codes: Codes) -> None:
        """Whatever lies inside the cardinalities becomes valid; what is valid stays as it is."""
        np.testing.assert_array_equal(space.repair(codes), codes)
        rng = np.random.default_rng(3)
        shape = (self.samples, len(space.cardinalities))
        anything: Any = rng.integers(0, np.array(space.cardinalities), size=shape)
        extremes = np.stack([np.zeros_like(anything[0]), np.array(space.cardinalities) - 1])
        anything = np.concatenate([anything, extremes]).astype(CODE_DTYPE)
        repaired = space.repair(anything)
        assert repaired.dtype == CODE_DTYPE
        assert space.is_valid(repaired).all()
        valid = space.is_valid(anything)
        np.testing.assert_array_equal(repaired[valid], anything[valid])
        np.testing.assert_array_equal(space.repair(repaired), repaired)
        np.testing.assert_array_equal(space.repair(anything[5:9]), repaired[5:9])

    def test_class_keys(self, space: SearchSpace, codes: Codes) -> None:
        """Keys depend on the code alone; the rule ``code`` tells all codes apart."""
        for rule in self.rules:
            keys = space.class_keys(codes, rule)
            assert keys.shape == (len(codes),)
            assert keys.dtype == np.uint64
            np.testing.assert_array_equal(keys[::-1], space.class_keys(codes[::-1], rule))
            np.testing.assert_array_equal(keys[7:8], space.class_keys(codes[7:8], rule))
            assert space.class_keys(codes[:0], rule).shape == (0,)
        np.testing.assert_array_equal(space.class_keys(codes), space.class_keys(codes, "exact"))
        distinct = np.unique(codes, axis=0)
        assert len(np.unique(space.class_keys(distinct, "code"))) == len(distinct)

    def test_unknown_rule(self, space: SearchSpace, codes: Codes) -> None:
        """A rule that the space does not have is refused."""
        for rule in {"code", "exact", "official", "nonsense"} - set(self.rules):
            with pytest.raises(UserError, match="rule"):
                space.class_keys(codes, cast(Rule, rule))
            with pytest.raises(UserError, match="rule"):
                space.canonical(codes, cast(Rule, rule))

    def test_canonical(self, space: SearchSpace, codes: Codes) -> None:
        """Representatives are valid, of the same class, one per class, and represent themselves."""
        np.testing.assert_array_equal(space.canonical(codes, "code"), codes)
        for rule in self.rules:
            if rule != "code" and not self.representatives:
                with pytest.raises(UserError):
                    space.canonical(codes, rule)
                continue
            chosen = space.canonical(codes, rule)
            keys = space.class_keys(codes, rule)
            assert space.is_valid(chosen).all()
            np.testing.assert_array_equal(space.class_keys(chosen, rule), keys)
            np.testing.assert_array_equal(space.canonical(chosen, rule), chosen)
            assert len(np.unique(chosen, axis=0)) == len(np.unique(keys))

    def test_graphs(self, space: SearchSpace, codes: Codes) -> None:
        """Graphs are acyclic along the data flow, lead from input to output, and tell all codes apart."""
        distinct = np.unique(codes[:50], axis=0)
        graphs = space.graphs(distinct).to_data_list()
        assert len(graphs) == len(distinct)
        for graph in graphs:
            self.check_graph(space, graph)
        assert len({signature(graph) for graph in graphs}) == len(distinct)
        edits = space.neighbors(distinct[0])
        assert signature(graphs[0]) not in {signature(graph) for graph in space.graphs(edits).to_data_list()}

    def check_graph(self, space: SearchSpace, graph: Data) -> None:
        """One graph: labels and positions in range, acyclic, from an input to an output."""
        assert int(graph.x.min()) >= 0
        assert int(graph.x.max()) < len(space.vocabulary)
        assert len(set(graph.position.tolist())) == graph.num_nodes
        assert int(graph.position.min()) >= 0
        assert int(graph.position.max()) < space.positions
        drawn: nx.DiGraph[int] = nx.DiGraph(list(zip(*graph.edge_index.tolist(), strict=True)))
        drawn.add_nodes_from(range(graph.x.shape[0]))
        assert nx.is_directed_acyclic_graph(drawn)
        labels = [space.vocabulary[label] for label in graph.x.tolist()]
        assert labels.count("input") == 1
        assert drawn.in_degree(labels.index("input")) == 0
        assert any(label == "output" and drawn.out_degree(node) == 0 for node, label in enumerate(labels))

    def test_batch(self, space: SearchSpace, codes: Codes) -> None:
        """The batch is what torch-geometric makes of its graphs, and these do not depend on each other."""
        import torch
        from torch_geometric.data import Batch

        batch = space.graphs(codes[:6])
        again = Batch.from_data_list(batch.to_data_list())
        assert batch.num_graphs == again.num_graphs == 6
        assert set(batch.keys()) == set(again.keys()) == {"x", "position", "edge_index", "batch", "ptr"}
        for key in again.to_dict():
            assert batch[key].dtype == torch.int64
            assert torch.equal(batch[key], again[key]), key
        assert signature(space.graphs(codes[3:4])[0]) == signature(batch[3])
        assert space.graphs(codes[:0]).num_graphs == 0

    def test_travels_between_processes(self, space: SearchSpace, codes: Codes) -> None:
        """A pickled copy is the same space, also after use."""
        keys = space.class_keys(codes)
        copy: Any = pickle.loads(pickle.dumps(space))  # noqa: S301
        assert copy.name == space.name
        np.testing.assert_array_equal(copy.class_keys(codes), keys)


def signature(graph: Data) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """A graph as sets: (position, label) of the nodes, (position, position) of the edges."""
    position = graph.position.tolist()
    edges = zip(*graph.edge_index.tolist(), strict=True)
    return (
        frozenset(zip(position, graph.x.tolist(), strict=True)),
        frozenset((position[source], position[target]) for source, target in edges),
    )
