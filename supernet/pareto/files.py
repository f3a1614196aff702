"""A set in a folder: ``pareto.csv`` with all figures, ``genotypes.json`` with what networks are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from crlso.errors import ArchitectureError, RunError
from crlso.protocols import SearchSpace
from crlso.runs.files import write_aside
from crlso.runs.pareto import FILE_NAME, Member, read_members, write_members
from crlso.spaces.fxdarts import FreeTopologySpace

PARETO: Final = FILE_NAME
GENOTYPES: Final = "genotypes.json"


def write_set(folder: Path, space: SearchSpace, members: Sequence[Member]) -> None:
    """Writes both files, each aside and renamed; ``pareto.csv`` comes last and says that all is there.

    ``genotypes.json`` is a list with an object per member: its number, its text, and for free topologies its
    cells, each a list of nodes, each a list of ``[operation, predecessor]``; ``null`` stands for a cell whose
    output nothing uses. ``--architecture`` of `crlso supernet train` reads it too.

    Raises:
        ArchitectureError: A member that is none of the space.
        RunError: The disk is full or read-only.
    """
    genotypes = [
        {"member": number, "architecture": member.architecture, **_cells(space, member.architecture)}
        for number, member in enumerate(members)
    ]
    with write_aside(folder / GENOTYPES, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(genotype) for genotype in genotypes) + "\n]\n")
    write_members(folder / PARETO, members)


def read_set(folder: Path, space: SearchSpace | None = None) -> tuple[Member, ...]:
    """The set in a folder, in the order of its numbers.

    Args:
        folder: Where ``pareto.csv`` is.
        space: Of the architectures, which are then looked at too.

    Raises:
        RunError: No file, a damaged one (the message has the line), or a member that is none of the space.
    """
    members = read_members(folder / PARETO)
    if space is not None:
        for number, member in enumerate(members):
            try:
                space.parse(member.architecture)
            except ArchitectureError as error:
                # Lines are counted from 1, and the first one names the columns.
                raise RunError(
                    f"{folder / PARETO}, line {number + 2}: not of the space {space.name!r}: {error}"
                ) from error
    return members


def _cells(space: SearchSpace, text: str) -> dict[str, Any]:
    code = space.parse(text)
    if not isinstance(space, FreeTopologySpace):
        return {}
    used = space.used(code[None])[0]
    cells = space.format(code).split("/")
    return {"cells": [_nodes(cell) if alive else None for cell, alive in zip(cells, used, strict=True)]}


def _nodes(cell: str) -> list[list[list[str | int]]]:
    nodes: list[list[list[str | int]]] = []
    for group in cell.split("+"):
        pairs = (part.split("~") for part in group.strip("|").split("|"))
        nodes.append([[operation, int(source)] for operation, source in pairs])
    return nodes
