"""NAS-Bench-101: operations on nodes, up to 7 vertices and 9 edges.

A code is of fixed length: 21 bits of the upper triangle of the adjacency matrix, row by row, then the
operation of each of the 5 inner vertices. Smaller cells have vertices that lie on no path from input to
output; the benchmark prunes these before it counts edges or hashes, and so does everything here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.batching import select_batch
from crlso.spaces.texts import shown

if TYPE_CHECKING:
    from torch_geometric.data import Batch

VERTICES = 7
MAX_EDGES = 9
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
_ROWS, _COLUMNS = np.triu_indices(VERTICES, 1)
_BITS = len(_ROWS)
_INNER = VERTICES - 2


@final
class NASBench101Space:
    """The cells of NAS-Bench-101; the text form is JSON, ``{"matrix": [[...], ...], "ops": [...]}``.

    A code is valid by the benchmark's rules: input and output are connected, and at most 9 edges are left
    after pruning. The rules ``exact`` and ``official`` are one, the benchmark's own hash of the pruned cell.
    """

    @property
    def name(self) -> str:
        """``nasbench101``."""
        return "nasbench101"

    @property
    def operations(self) -> tuple[str, ...]:
        """The benchmark's own names, in the order of its labels."""
        return OPERATIONS

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """2 for each of 21 possible edges, 3 for each of 5 operations."""
        return (2,) * _BITS + (len(OPERATIONS),) * _INNER

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output``, then the operations."""
        return ("input", "output", *OPERATIONS)

    @property
    def positions(self) -> int:
        """The 7 vertices."""
        return VERTICES

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All three rules of sameness."""
        return ("code", "exact", "official")

    @property
    def size(self) -> int:
        """Number of codes; many are not valid, and the valid ones fall into 423,624 classes."""
        return code_tools.count(self.cardinalities)

    def __repr__(self) -> str:
        return "NASBench101Space()"

    def parse(self, text: str) -> Code:
        """Code of a JSON text: upper-triangular 0/1 matrix, operations from ``input`` to ``output``.

        Cells of fewer than 7 vertices get unconnected vertices before the output.

        Raises:
            ArchitectureError: The message says which part is wrong and what is allowed there.
        """
        matrix, operations = _read(text)
        inner = len(operations) - 2
        slots = [*range(inner + 1), VERTICES - 1]
        adjacency = np.zeros((VERTICES, VERTICES), dtype=CODE_DTYPE)
        adjacency[np.ix_(slots, slots)] = matrix
        code = np.zeros(_BITS + _INNER, dtype=CODE_DTYPE)
        code[:_BITS] = adjacency[_ROWS, _COLUMNS]
        code[_BITS : _BITS + inner] = [OPERATIONS.index(name) for name in operations[1:-1]]
        edges = int(_pruned(code[None])[1].sum())
        if edges == 0:
            raise ArchitectureError("matrix: no path leads from input to output")
        if edges > MAX_EDGES:
            raise ArchitectureError(
                f"matrix: {edges} edges lie between input and output; at most {MAX_EDGES} may"
            )
        return code

    def format(self, code: ArrayLike) -> str:
        """JSON with all 7 vertices, those without a part in the cell included."""
        row = code_tools.as_code(code, self.cardinalities)
        matrix = np.zeros((VERTICES, VERTICES), dtype=np.int64)
        matrix[_ROWS, _COLUMNS] = row[:_BITS]
        names = ["input", *(OPERATIONS[value] for value in row[_BITS:]), "output"]
        return json.dumps({"matrix": matrix.tolist(), "ops": names}, separators=(",", ":"))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over the valid codes (by rejection), with replacement."""
        kept = [code_tools.sample_uniform(min(n, 0), self.cardinalities, rng)]  # refuses a negative n
        missing = n
        while missing > 0:
            drawn = code_tools.sample_uniform(4 * missing + 16, self.cardinalities, rng)
            kept.append(drawn[self.is_valid(drawn)][:missing])
            missing -= len(kept[-1])
        return np.concatenate(kept)

    def enumerate(self) -> Iterator[Codes]:
        """All valid codes in lexicographic order, in chunks: hundreds of millions."""
        operations = np.concatenate(list(code_tools.enumerate_codes((len(OPERATIONS),) * _INNER)))
        for block in code_tools.enumerate_codes((2,) * _BITS, chunk=256):
            padded = np.concatenate([block, np.zeros((len(block), _INNER), dtype=CODE_DTYPE)], axis=1)
            if len(good := block[self.is_valid(padded)]):
                yield np.concatenate(
                    [np.repeat(good, len(operations), axis=0), np.tile(operations, (len(good), 1))], axis=1
                )

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: one edge more or less, or one other operation, as far as valid."""
        edits = code_tools.one_edit(code_tools.as_code(code, self.cardinalities), self.cardinalities)
        return edits[self.is_valid(edits)]

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: entries in range, input and output connected, at most 9 edges after pruning."""
        matrix = code_tools.as_matrix(codes, self.cardinalities)
        valid = code_tools.in_range(matrix, self.cardinalities)
        edges = _pruned(matrix[valid])[1].sum(axis=1)
        valid[valid] = (edges > 0) & (edges <= MAX_EDGES)
        return valid

    def repair(self, codes: ArrayLike) -> Codes:
        """``[n, d]``: an unconnected cell gets the edge input-output; one with too many edges loses some.

        Edges go one by one: each time the one whose loss leaves the most edges after pruning, the first in
        the order of the code among equals.
        """
        repaired = code_tools.as_codes(codes, self.cardinalities).copy()
        unconnected = _pruned(repaired)[1].sum(axis=1) == 0
        repaired[unconnected, VERTICES - 2] = 1  # edge (0, 6)
        while len(crowded := np.flatnonzero(~self.is_valid(repaired))):
            repaired[crowded] = _without_one_edge(repaired[crowded])
        return repaired

    def hashes(self, codes: ArrayLike) -> list[str]:
        """The benchmark's module hashes: 32 hexadecimal digits per valid code.

        Raises:
            ArchitectureError: A code is not valid.
        """
        checked = code_tools.as_codes(codes, self.cardinalities)
        if not (valid := self.is_valid(checked)).all():
            raise ArchitectureError(
                f"code {int(np.flatnonzero(~valid)[0])} is not a valid cell: it has no hash"
            )
        live, edges = _pruned(checked)
        known: dict[bytes, str] = {}
        found = []
        for row, alive, kept in zip(checked, live, edges, strict=True):
            labels = np.concatenate([[-1], row[_BITS:], [-2]])[alive]
            matrix = np.zeros((VERTICES, VERTICES), dtype=np.int8)
            matrix[_ROWS, _COLUMNS] = kept
            matrix = matrix[np.ix_(alive, alive)]
            key = matrix.tobytes() + labels.astype(np.int8).tobytes()
            if key not in known:
                known[key] = module_hash(matrix.tolist(), labels.tolist())
            found.append(known[key])
        return found

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]``: the first 64 bits of the official hash, or ranks of the codes."""
        code_tools.check_rule(rule, self.name, self.rules)
        if rule == "code":
            return code_tools.code_keys(code_tools.as_codes(codes, self.cardinalities), self.cardinalities)
        return np.array([int(text[:16], 16) for text in self.hashes(codes)], dtype=np.uint64)

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """The codes themselves by the rule ``code``.

        Raises:
            UserError: Any other rule: the space is too large to list its classes; use :meth:`class_keys`.
        """
        code_tools.check_rule(rule, self.name, self.rules)
        checked = code_tools.as_codes(codes, self.cardinalities)
        if rule != "code":
            raise UserError(
                "nasbench101 is too large to list the smallest code of each class; use class_keys"
            )
        return checked

    def graphs(self, codes: ArrayLike) -> Batch:
        """All 7 vertices and all edges of the matrix, pruned or not: one-to-one on codes."""
        checked = code_tools.as_codes(codes, self.cardinalities)
        labels = np.zeros((len(checked), VERTICES), dtype=np.int64)
        labels[:, 1:-1], labels[:, -1] = checked[:, _BITS:] + 2, 1
        present = np.ones(labels.shape, dtype=np.bool_)
        return select_batch(labels, present, np.stack([_ROWS, _COLUMNS]), checked[:, :_BITS] > 0)


def nasbench101() -> NASBench101Space:
    """The NAS-Bench-101 space."""
    return NASBench101Space()


def module_hash(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """The benchmark's hash of a pruned cell, equal for isomorphic cells.

    Args:
        matrix: Upper-triangular adjacency matrix of 0 and 1.
        labels: -1 for the input, -2 for the output, otherwise an index into :data:`OPERATIONS`.
    """
    # Plain integers throughout: the text of a tuple is hashed, and numpy's integers print differently.
    vertices = range(len(labels))
    sources = [[u for u in vertices if matrix[u][v]] for v in vertices]
    targets = [[v for v in vertices if matrix[u][v]] for u in vertices]
    hashes = [_md5(str((len(targets[v]), len(sources[v]), int(labels[v])))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5(
                "".join(sorted(hashes[u] for u in sources[v]))
                + "|"
                + "".join(sorted(hashes[w] for w in targets[v]))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _pruned(codes: NDArray[Any]) -> tuple[BoolArray, BoolArray]:
    """``[n, 7]`` vertices and ``[n, 21]`` edges on paths from input to output, if there are any."""
    edges = codes[:, :_BITS] > 0
    forward = np.zeros((len(codes), VERTICES), dtype=np.bool_)
    backward = forward.copy()
    forward[:, 0] = backward[:, -1] = True
    for bit in np.argsort(_COLUMNS, kind="stable"):  # into each vertex once its sources are known
        forward[:, _COLUMNS[bit]] |= forward[:, _ROWS[bit]] & edges[:, bit]
    for bit in range(_BITS - 1, -1, -1):  # out of each vertex once its targets are known
        backward[:, _ROWS[bit]] |= backward[:, _COLUMNS[bit]] & edges[:, bit]
    live = forward & backward
    return live, edges & live[:, _ROWS] & live[:, _COLUMNS]


def _without_one_edge(codes: Codes) -> Codes:
    n, d = codes.shape
    trials = np.repeat(codes[:, None], _BITS, axis=1)  # [n, 21, d]: trial i lacks edge i
    trials[:, np.arange(_BITS), np.arange(_BITS)] = 0
    left = _pruned(trials.reshape(-1, d))[1].sum(axis=1).reshape(n, _BITS)
    before = _pruned(codes)[1].sum(axis=1)[:, None]
    left = np.where(left < before, left, -1)  # taking away an edge that is pruned anyway would not help
    fewer: Codes = trials[np.arange(n), left.argmax(axis=1)]
    return fewer


def _read(text: str) -> tuple[list[list[int]], list[str]]:
    """Matrix and operations of a JSON text, checked as to form."""
    form = '{"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}'
    if not isinstance(text, str):
        raise ArchitectureError(f"an architecture of 'nasbench101' is a text, got {type(text).__name__}")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArchitectureError(f"character {error.pos}: not JSON ({error.msg}); expected {form}") from error
    if not isinstance(data, dict) or set(data) != {"matrix", "ops"}:
        raise ArchitectureError(f"expected an object with exactly 'matrix' and 'ops', such as {form}")
    operations, matrix = data["ops"], data["matrix"]
    if not isinstance(operations, list) or not 2 <= len(operations) <= VERTICES:
        raise ArchitectureError(f"ops: must be a list of 2 to {VERTICES} names")
    for vertex, name in enumerate(operations):
        inner = 0 < vertex < len(operations) - 1
        allowed = OPERATIONS if inner else ("input",) if vertex == 0 else ("output",)
        if name not in allowed:
            raise ArchitectureError(
                f"ops, vertex {vertex}: expected {' or '.join(allowed)}, got {shown(name)}"
            )
    size = len(operations)
    if not isinstance(matrix, list) or len(matrix) != size:
        raise ArchitectureError(f"matrix: must have one row for each of the {size} operations")
    for u, row in enumerate(matrix):
        if not isinstance(row, list) or len(row) != size:
            raise ArchitectureError(f"matrix, row {u}: must be a list of {size} entries")
        for v, entry in enumerate(row):
            if entry not in (0, 1) or isinstance(entry, float | bool):
                raise ArchitectureError(f"matrix, row {u}, column {v}: must be 0 or 1, got {shown(entry)}")
            if entry and v <= u:
                raise ArchitectureError(f"matrix, row {u}, column {v}: must be 0 (upper triangle only)")
    return matrix, operations
