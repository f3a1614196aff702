"""Spaces by name, and declared spaces as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import SearchSpace
from crlso.spaces.chain import ChoiceChain, chain_from_dict, toy64
from crlso.spaces.darts import darts
from crlso.spaces.edge_cell import EdgeCellSpace, edge_cell_from_dict
from crlso.spaces.fxdarts import FreeTopologySpace, free_topology_from_dict, fxdarts
from crlso.spaces.nas_bench_graph import nas_bench_graph
from crlso.spaces.nasbench101 import nasbench101
from crlso.spaces.nasbench201 import nasbench201
from crlso.spaces.nats_size import nats_size
from crlso.spaces.subset import Subset

BUILT_IN: Mapping[str, Callable[[], SearchSpace]] = MappingProxyType(
    {
        "nasbench201": nasbench201,
        "nasbench101": nasbench101,
        "nats_size": nats_size,
        "nas_bench_graph": nas_bench_graph,
        "darts": darts,
        "fxdarts": fxdarts,
        "toy64": toy64,
    }
)
"""Built-in spaces: a name and the function that makes the space."""

DECLARED: Mapping[str, Callable[[Mapping[str, Any]], SearchSpace]] = MappingProxyType(
    {
        "edge_cell": edge_cell_from_dict,
        "chain": chain_from_dict,
        "free_topology": free_topology_from_dict,
    }
)
"""Kinds of space that a user can declare: the value of ``space:`` and the function that reads the rest."""

_SUFFIXES = (".yaml", ".yml")


def get_space(name_or_path: str | Path) -> SearchSpace:
    """A built-in space by its name, or the space that a YAML file declares.

    Args:
        name_or_path: ``nasbench201``, ... or a path ending in ``.yaml`` or ``.yml``.

    Raises:
        UnknownNameError: No such name; the message lists the names.
        UserError: No such file, or its content does not declare a space.
    """
    if name_or_path in BUILT_IN:
        return BUILT_IN[str(name_or_path)]()
    path = Path(name_or_path)
    if path.suffix not in _SUFFIXES:
        raise UnknownNameError("space (or path of a .yaml file)", str(name_or_path), BUILT_IN)
    return _read(path)


def _read(path: Path) -> SearchSpace:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the space declaration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the space declaration {path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the space declaration {path} is not valid YAML: {reason}") from error
    try:
        return space_from_dict(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def space_to_dict(space: SearchSpace) -> dict[str, Any]:
    """Plain data from which :func:`space_from_dict` makes the space again; table files carry it.

    Raises:
        UserError: The space is neither built in nor declared.
    """
    if isinstance(space, Subset):
        raise UserError(
            f"write down the whole space {space.name!r} and the members beside it, not the subset"
        )
    data = _declared(space)
    if space.name in BUILT_IN:
        if data is not None and _declared(BUILT_IN[space.name]()) != data:
            raise UserError(f"a declared space can not be named {space.name!r}: that is a built-in space")
        return {"space": space.name}
    if data is not None:
        return data
    raise UserError(f"space {space.name!r} cannot be written down: it is neither built in nor declared")


def _declared(space: SearchSpace) -> dict[str, Any] | None:
    """The declaration of a space that can be declared."""
    if isinstance(space, EdgeCellSpace | ChoiceChain | FreeTopologySpace):
        return space.to_dict()
    return None


def space_from_dict(data: object) -> SearchSpace:
    """The space that plain data declare, ``{space: KIND, ...}``; ``{space: NAME}`` is a built-in one.

    Raises:
        UserError: Not a mapping, no or an unknown kind, or a wrong field; the message says what is allowed.
    """
    kinds = ", ".join([*DECLARED, *BUILT_IN])
    if not isinstance(data, Mapping):
        raise UserError(
            f"a space declaration is a mapping with a field 'space' (one of {kinds}), got {data!r}"
        )
    kind = data.get("space")
    if kind is None:
        raise UserError(f"a space declaration needs a field 'space': one of {kinds}")
    if kind in BUILT_IN:
        if extra := [str(key) for key in data if key != "space"]:
            raise UserError(f"the built-in space {kind!r} takes no field {extra[0]!r}")
        return BUILT_IN[kind]()
    if kind not in DECLARED:
        raise UnknownNameError("kind of space", str(kind), [*DECLARED, *BUILT_IN])
    name = data.get("name")
    if name in BUILT_IN:
        raise UserError(f"a declared space can not be named {name!r}: that is a built-in space")
    return DECLARED[kind](data)
