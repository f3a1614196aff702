"""Surrogates on disk: one safetensors file each, numbers and a header; nothing is pickled.

The header is that of a table (:class:`benchmarks.store.Header`) with no rows. The file's only metadata entry
``crlso.surrogate`` is JSON with the header and the SHA-256 of the header and all arrays. Importing this
module imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import make_folder
from benchmarks.store import Header
from benchmarks.surrogate.evaluator import Predictor, SurrogateEvaluator
from crlso.errors import TableError, UserError
from crlso.protocols import SearchSpace
from crlso.runs.files import explain_os_error, write_aside
from crlso.spaces import space_from_dict
from crlso.spaces.darts import DARTSSpace

SUFFIX = ".safetensors"
_KEY = "crlso.surrogate"

Arrays = Mapping[str, NDArray[Any]]


def write_surrogate(path: Path, header: Header, arrays: Arrays) -> None:
    """Write a surrogate aside and rename it; the old file stays until the new one is whole.

    Args:
        path: The file; its folder is made where it is missing.
        header: ``details["kind"]`` says which model the arrays are of.
        arrays: By name.

    Raises:
        RunError: The disk is full or the folder can not be written.
    """
    from safetensors.numpy import save

    head = header.to_json()
    entry = json.dumps({"header": head.decode(), "sha256": _digest(head, arrays)})
    make_folder(path.parent)
    with write_aside(path) as file:
        file.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {_KEY: entry}))


def read_surrogate(path: Path) -> tuple[SurrogateEvaluator, Header]:
    """The surrogate of a file, checked against the digest in it.

    Raises:
        TableError: Not one of our surrogate files, damaged, or of another version.
    """
    header, identity, arrays = _read(path)
    try:
        space = space_from_dict(header.space)
        predictor = _predictor(header, space, arrays)
    except TableError:
        raise
    except (UserError, KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from error
    evaluator = SurrogateEvaluator(
        header.name,
        space,
        header.metrics,
        predictor,
        {"sha256": identity, "importer": header.importer, **header.source},
    )
    return evaluator, header


def read_surrogate_header(path: Path) -> Header:
    """What a surrogate's file says about itself.

    Raises:
        TableError: Not one of our surrogate files, or damaged.
    """
    return _read(path)[0]


def _predictor(header: Header, space: SearchSpace, arrays: Arrays) -> Predictor:
    from benchmarks.surrogate.model import QuadraticSurrogate
    from benchmarks.surrogate.trees import TreeEnsemble

    kind = header.details["kind"]
    if kind == QuadraticSurrogate.KIND:
        return QuadraticSurrogate.from_arrays(space, header.details, arrays)
    if kind == TreeEnsemble.KIND and isinstance(space, DARTSSpace):
        return TreeEnsemble.from_arrays(arrays, len(header.metrics) - 1)
    raise ValueError(f"a model of kind {str(kind)[:40]!r} of {space.name} is not known")


def _read(path: Path) -> tuple[Header, str, Arrays]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise TableError(
                    f"{path} is not a surrogate of ours; make one with: crlso bench fit-surrogate TABLE ..."
                )
            entry = json.loads(metadata[_KEY])
            head, identity = str(entry["header"]).encode(), str(entry["sha256"])
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        if _digest(head, arrays) != identity:
            raise ValueError("it does not fit its checksum")
        return Header.from_json(head), identity, arrays
    except FileNotFoundError as error:
        raise TableError(f"there is no surrogate file {path}") from error
    except OSError as error:
        raise explain_os_error(error, path) or _damaged(path, error) from error
    except TableError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> TableError:
    reason = (str(error).splitlines() or [""])[0][:120]
    return TableError(f"surrogate file {path} is damaged ({reason}); fit or import it again")


def _digest(head: bytes, arrays: Arrays) -> str:
    """SHA-256 over the header and, by name, type, shape and bytes of every array."""
    digest = hashlib.sha256(head)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
