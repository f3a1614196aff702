"""NAS-Bench-301's official surrogate ensembles of XGBoost and LightGBM, read as data.

A folder such as ``nb_models_1.0/xgb_v1.0`` has one folder per member with ``surrogate_model.model`` (a
pickled ``Booster``) and ``model_config.json``. The pickle's only content that is used is the booster's own
bytes or text, whose trees become arrays of ours: neither xgboost nor lightgbm is needed, and nothing is run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import MappingProxyType

from benchmarks.formats.files import file_digests
from benchmarks.importers.registry import Format, Source
from benchmarks.store import Header
from benchmarks.surrogate.boosters import lightgbm_forest, xgboost_forest
from benchmarks.surrogate.storage import SUFFIX, write_surrogate
from benchmarks.surrogate.trees import Forest, TreeEnsemble
from crlso.errors import TableError
from crlso.formats.emulated import DEFAULT, Allowed, Global, Record, record_class
from crlso.formats.errors import FormatError, naming
from crlso.formats.pickles import Limits, read_pickle
from crlso.protocols import Metric
from crlso.runs.files import disk_errors
from crlso.runs.progress import progress_bar
from crlso.spaces import space_to_dict
from crlso.spaces.darts import darts

IMPORTER = "crlso.nasbench301/1"
MEMBER = "surrogate_model.model"
_FOLDER = re.compile(r"[a-z_]+_v(\d+\.\d+)")
_LIMITS = Limits(size=1 << 30)
_CONFIG_SIZE = 1 << 20

_KINDS = MappingProxyType(
    {
        "xgb": ("xgb", "valid_accuracy"),
        "lgb": ("lgb", "valid_accuracy"),
        "xgb_time": ("xgb", "runtime"),
        "lgb_time": ("lgb", "runtime"),
    }
)
"""By the name in ``model_config.json``: which library, and what is predicted."""

_QUANTITIES = MappingProxyType(
    {
        "valid_accuracy": ("max", "%", "CIFAR-10 validation accuracy after 100 epochs"),
        "runtime": ("min", "s", "time of 100 epochs of training on CIFAR-10"),
    }
)


def _bytearray(arguments: tuple[object, ...]) -> object:
    if len(arguments) != 1 or not isinstance(arguments[0], bytes):
        raise FormatError("bytearray is called with arguments that do not fit")
    return arguments[0]


def _default_dict(arguments: tuple[object, ...]) -> object:
    del arguments  # only what it makes of a missing key
    return {}


ALLOWED: Allowed = DEFAULT.also(
    record_class("xgboost.core.Booster"),
    record_class("lightgbm.basic.Booster"),
    Global("builtins.bytearray", _bytearray),
    Global("collections.defaultdict", _default_dict),
)
"""What a pickled booster names."""


def _members(path: Path) -> list[Path]:
    """The members' files, in the order of the numbers in their folders' names."""
    found = [*path.glob(MEMBER), *path.glob(f"*/{MEMBER}"), *path.glob(f"*/*/{MEMBER}")]

    def order(file: Path) -> list[tuple[int, str]]:
        words = re.split(r"(\d+)", str(file.parent.relative_to(path)))
        return [(int(word) if word.isdecimal() else -1, word) for word in words]

    return sorted(found, key=order)


def _recognises(path: Path) -> bool:
    return path.is_dir() and bool(_members(path))


def _kind(path: Path) -> tuple[str, str, str]:
    """Library, quantity and version of an ensemble's folder."""
    members = _members(path)
    if not members:
        raise TableError(f"{path} has no member of an ensemble (no file */{MEMBER})")
    match = _FOLDER.fullmatch(path.resolve().name)
    if match is None:
        inner = sorted({str(p) for file in members for p in file.parents if _FOLDER.fullmatch(p.name)})
        advice = f"import one of {', '.join(inner)}" if inner else "name it as it was, such as xgb_v1.0"
        raise TableError(
            f"the name of the folder {path} does not say which model and version it is; {advice}"
        )
    names = {_model_name(file.with_name("model_config.json")) for file in members}
    name = ", ".join(sorted(names))
    if name not in _KINDS:
        raise TableError(f"{path} holds models {name[:60]!r}; known are {', '.join(_KINDS)}")
    return (*_KINDS[name], match[1])


def _model_name(path: Path) -> str:
    with naming(path), disk_errors(path):
        with path.open("rb") as file:
            data = file.read(_CONFIG_SIZE)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError("not JSON; download it again") from error
        if not isinstance(found, dict) or not isinstance(found.get("model"), str):
            raise FormatError("it has no entry 'model'; download it again")
        return str(found["model"])


def _name(path: Path) -> str:
    library, quantity, version = _kind(path)
    return f"nb301-{library}{'-runtime' if quantity == 'runtime' else ''}-v{version}"


def _read_member(path: Path, library: str) -> Forest:
    with naming(path), path.open("rb") as file:
        found = read_pickle(file, allowed=ALLOWED, limits=_LIMITS)
        if not isinstance(found, Record) or not isinstance(found.state, dict):
            raise FormatError("it holds no booster")
        handle = found.state.get("handle")
        if found.kind.startswith("xgboost") and library == "xgb" and isinstance(handle, bytes):
            return xgboost_forest(handle)
        if found.kind.startswith("lightgbm") and library == "lgb" and isinstance(handle, str):
            # As LightGBM's own predict: up to the best iteration, where training stopped early.
            best = found.state.get("best_iteration")
            return lightgbm_forest(handle, best if isinstance(best, int) and best > 0 else None)
        raise FormatError(f"it holds no booster of {library}, as model_config.json says")


def _convert(source: Source) -> None:
    library, quantity, version = _kind(source.path)
    files = _members(source.path)
    members: list[Forest] = []
    digests: dict[str, str] = {}
    with progress_bar("members", len(files), enabled=source.progress) as advance:
        for number, file in enumerate(files):
            members.append(_read_member(file, library))
            digests[f"sha256 {file.relative_to(source.path)}"] = file_digests(file)[1]
            advance(number + 1, "")
    if len({len(member.roots) > 0 for member in members}) != 1:
        raise TableError(f"{source.path}: a member without trees; download it again")
    direction, unit, what = _QUANTITIES[quantity]
    main = f"nb301-{library}-v{version}/{quantity}"
    title = f"NAS-Bench-301 v{version}, {library.upper()} ensemble"
    metrics = [
        Metric(
            main,
            "max" if direction == "max" else "min",
            unit,
            f"{title}: predicted, not trained; {what} (8 cells, 32 channels), mean of {len(members)} members",
        )
    ]
    metrics += [
        Metric(
            f"{main}/member{i}",
            metrics[0].direction,
            unit,
            f"{title}: the prediction of member {i} alone ({file.parent.relative_to(source.path)}); {what}",
        )
        for i, file in enumerate(files)
    ]
    header = Header(
        name=source.name,
        space=space_to_dict(darts()),
        metrics=tuple(metrics),
        rows=0,
        source={"folder": source.path.resolve().name, **digests},
        importer=IMPORTER,
        description=f"{title} of {len(members)} members: predicted {what}",
        details={"kind": TreeEnsemble.KIND},
    )
    write_surrogate(source.target, header, TreeEnsemble(tuple(members)).to_arrays())


FORMAT = Format(
    name="nasbench301",
    table=_name,
    what="NAS-Bench-301's ensembles, a folder such as xgb_v1.0 or lgb_runtime_v0.9",
    recognises=_recognises,
    convert=_convert,
    suffix=SUFFIX,
)
"""NAS-Bench-301's ensembles of boosters."""
