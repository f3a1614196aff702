"""Text forms of NAS-Bench-101 cells: JSON, and the two texts that the benchmark's records hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes
from crlso.spaces import codes as code_tools
from crlso.spaces.nasbench101_cells import (
    BITS,
    CARDINALITIES,
    COLUMNS,
    INNER,
    MAX_EDGES,
    OPERATIONS,
    ROWS,
    VERTICES,
    pruned,
    pruned_matrices,
)
from crlso.spaces.texts import shown


def read_cell(text: str) -> Code:
    """Code of a JSON text; see :meth:`~crlso.spaces.nasbench101.NASBench101Space.parse`."""
    form = '{"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}'
    if not isinstance(text, str):
        raise ArchitectureError(f"an architecture of 'nasbench101' is a text, got {type(text).__name__}")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArchitectureError(f"character {error.pos}: not JSON ({error.msg}); expected {form}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise ArchitectureError(f"not a cell: {error}; expected {form}") from error
    if not isinstance(data, dict) or set(data) != {"matrix", "ops"}:
        raise ArchitectureError(f"expected an object with exactly 'matrix' and 'ops', such as {form}")
    _check_operations(data["ops"])
    _check_matrix(data["matrix"], len(data["ops"]))
    return _code(data["matrix"], data["ops"])


def cell_text(code: Code) -> str:
    """JSON text of a code, without the last inner vertices where :func:`read_cell` puts them back."""
    matrix = np.zeros((VERTICES, VERTICES), dtype=np.int64)
    matrix[ROWS, COLUMNS] = code[:BITS]
    (used,) = np.nonzero((matrix + matrix.T).sum(axis=1)[1:-1] + code[BITS:])
    inner = int(used[-1]) + 1 if len(used) else 0
    slots = [*range(inner + 1), VERTICES - 1]
    names = ["input", *(OPERATIONS[value] for value in code[BITS : BITS + inner]), "output"]
    return json.dumps({"matrix": matrix[np.ix_(slots, slots)].tolist(), "ops": names}, separators=(",", ":"))


def from_record(adjacency: str, operations: str) -> Code:
    """Code of a cell as the benchmark's records hold it.

    Args:
        adjacency: The whole matrix row by row, ``"0110001100010000"`` for 4 vertices.
        operations: ``"input,conv1x1-bn-relu,conv3x3-bn-relu,output"``.

    Raises:
        ArchitectureError: The message says which part is wrong and what is allowed there.
    """
    for part, text in (("adjacency", adjacency), ("operations", operations)):
        if not isinstance(text, str):
            raise ArchitectureError(f"{part}: must be a text, got {type(text).__name__}")
    names = operations.split(",")
    _check_operations(names)
    size = len(names)
    if len(adjacency) != size * size or set(adjacency) - {"0", "1"}:
        raise ArchitectureError(
            f"adjacency: must be {size * size} digits 0 or 1 for {size} operations, got {shown(adjacency)}"
        )
    matrix = [[int(digit) for digit in adjacency[u * size : (u + 1) * size]] for u in range(size)]
    _check_matrix(matrix, size)
    return _code(matrix, names)


def from_records(adjacency: Sequence[str], operations: Sequence[str]) -> Codes:
    """Codes ``[n, 26]`` of many cells at once, each as for :func:`from_record`.

    Raises:
        ArchitectureError: A record is wrong (the message names the first one), or the lengths differ.
    """
    if len(adjacency) != len(operations):
        raise ArchitectureError(f"{len(adjacency)} adjacency texts for {len(operations)} operation texts")
    sizes: dict[int, list[int]] = {}  # records by number of inner vertices
    labels: list[Sequence[int]] = []
    known: dict[str, Sequence[int] | None] = {}
    doubtful = []
    for row, (digits, names) in enumerate(zip(adjacency, operations, strict=True)):
        texts = isinstance(digits, str) and isinstance(names, str)
        if texts and names not in known:
            known[names] = _labels(names)
        found = known[names] if texts else None
        labels.append(found or ())
        if found is not None and len(digits) == (len(found) + 2) ** 2:
            sizes.setdefault(len(found), []).append(row)
        else:
            doubtful.append(row)
    codes = np.zeros((len(adjacency), BITS + INNER), dtype=CODE_DTYPE)
    for inner, rows in sizes.items():
        block, well = _bits("".join(adjacency[row] for row in rows), inner)
        codes[rows, :BITS] = block
        codes[rows, BITS : BITS + inner] = [labels[row] for row in rows]
        doubtful += np.array(rows)[~well].tolist()
    edges = pruned(codes)[1].sum(axis=1)
    doubtful += np.flatnonzero((edges == 0) | (edges > MAX_EDGES)).tolist()
    for row in sorted(set(doubtful)):  # from_record says what is wrong with them
        try:
            codes[row] = from_record(adjacency[row], operations[row])
        except ArchitectureError as error:
            raise ArchitectureError(f"record {row}: {error}") from error
    return codes


def to_record(code: ArrayLike) -> tuple[str, str]:
    """The two texts of the pruned cell, as the benchmark's records hold them; undoes :func:`from_record`.

    Raises:
        ArchitectureError: Not one code with entries in range, or no path leads from input to output.
    """
    row = code_tools.as_code(code, CARDINALITIES)
    live, adjacency, operations = pruned_matrices(row[None])
    used = np.flatnonzero(live[0])
    if len(used) == 0:
        raise ArchitectureError("matrix: no path leads from input to output")
    digits = "".join(map(str, adjacency[0][np.ix_(used, used)].ravel().tolist()))
    return digits, ",".join(["input", *(OPERATIONS[value] for value in operations[0, used[1:-1]]), "output"])


def _labels(names: str) -> Sequence[int] | None:
    """Operations of the inner vertices of a record, ``None`` if it is not well formed."""
    first, *inner = names.split(",")
    if not 0 < len(inner) < VERTICES or first != "input" or inner.pop() != "output":
        return None
    return [OPERATIONS.index(name) for name in inner] if set(inner) <= set(OPERATIONS) else None


def _bits(digits: str, inner: int) -> tuple[NDArray[np.uint8], BoolArray]:
    """``[m, 21]`` edge bits of matrices written one after the other; ``[m]`` whether each is well formed."""
    size = inner + 2
    # Whatever is not a digit 0 or 1 becomes a number above 1; one character stays one number.
    numbers = np.frombuffer(digits.encode("latin-1", "replace"), dtype=np.uint8) - np.uint8(ord("0"))
    matrices = numbers.reshape(-1, size, size)
    well = np.asarray((matrices <= 1).all(axis=(1, 2)) & ~np.tril(matrices).any(axis=(1, 2)), dtype=np.bool_)
    placed = np.zeros((len(matrices), VERTICES, VERTICES), dtype=np.uint8)
    slots = np.array([*range(inner + 1), VERTICES - 1])
    placed[:, slots[:, None], slots] = matrices
    return placed[:, ROWS, COLUMNS], well


def _code(matrix: list[list[int]], operations: list[str]) -> Code:
    """Code of a matrix and operations that are well formed; refuses a cell that is not valid."""
    inner = len(operations) - 2
    slots = [*range(inner + 1), VERTICES - 1]
    adjacency = np.zeros((VERTICES, VERTICES), dtype=CODE_DTYPE)
    adjacency[np.ix_(slots, slots)] = matrix
    code = np.zeros(BITS + INNER, dtype=CODE_DTYPE)
    code[:BITS] = adjacency[ROWS, COLUMNS]
    code[BITS : BITS + inner] = [OPERATIONS.index(name) for name in operations[1:-1]]
    edges = int(pruned(code[None])[1].sum())
    if edges == 0:
        raise ArchitectureError("matrix: no path leads from input to output")
    if edges > MAX_EDGES:
        raise ArchitectureError(
            f"matrix: {edges} edges lie between input and output; at most {MAX_EDGES} may"
        )
    return code


def _check_operations(operations: Any) -> None:
    if not isinstance(operations, list) or not 2 <= len(operations) <= VERTICES:
        raise ArchitectureError(f"ops: must be a list of 2 to {VERTICES} names")
    for vertex, name in enumerate(operations):
        inner = 0 < vertex < len(operations) - 1
        allowed = OPERATIONS if inner else ("input",) if vertex == 0 else ("output",)
        if name not in allowed:
            raise ArchitectureError(
                f"ops, vertex {vertex}: expected {' or '.join(allowed)}, got {shown(name)}"
            )


def _check_matrix(matrix: Any, size: int) -> None:
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
