"""Run directories in the public format, written by hand: the report is read without running a search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crlso.spaces import get_space

METRIC = "cifar10/valid_accuracy@200"
OPTIMUM = 91.607


def curve(rng: np.random.Generator, budget: int, speed: float) -> list[float]:
    """A best-so-far curve that reaches the optimum sooner or later."""
    regret = np.minimum.accumulate(rng.gamma(1.0, 6.0 * np.exp(-speed * np.arange(budget) / 25)) - 0.02)
    return [round(float(OPTIMUM - max(0.0, value)), 4) for value in regret]


def cell(method: int, seed: int) -> str:
    """A cell; some are found by several methods."""
    space = get_space("nasbench201")
    return space.format(space.sample(40, np.random.default_rng(7))[min(seed * 3, 20) + (method > 2)])


def config(method: str, seed: int, budget: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "search",
        "method": method,
        "bench": "nasbench201",
        "metric": METRIC,
        "direction": "max",
        "budget": budget,
        "seed": seed,
        "unique": "exact",
        "settings": {"population": 30, "sample": 10},
        "versions": {"crlso": "0.1.0", "python": "3.11"},
        **more,
    }


def write_search(
    path: Path,
    *,
    method: str = "crlso",
    seed: int = 0,
    budget: int = 40,
    values: Sequence[float] | None = None,
    optimum: float | None = OPTIMUM,
    diagnostics: bool = True,
    finished: bool = True,
    report: Mapping[str, float] | None = None,
) -> Path:
    """A search directory on NAS-Bench-201 with random cells."""
    rng = np.random.default_rng(seed + 1000)
    space = get_space("nasbench201")
    path.mkdir(parents=True)
    best = curve(rng, budget, 1.0) if values is None else list(values)
    cells = [space.format(code) for code in space.sample(len(best), rng)]
    (path / "config.yaml").write_text(yaml.safe_dump(config(method, seed, budget), sort_keys=False))
    lines = [
        {"n": i + 1, "arch": arch, "values": {METRIC: value}, "seconds": {"ask": 0.1, "evaluate": 0.0}}
        for i, (arch, value) in enumerate(zip(cells, best, strict=True))
    ]
    if not finished:
        lines = lines[: budget // 2]
    (path / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if diagnostics:
        write_diagnostics(path, len(lines), rng)
    if finished:
        summary = {
            "format": 1,
            "kind": "search",
            "method": method,
            "bench": "nasbench201",
            "metric": METRIC,
            "direction": "max",
            "budget": budget,
            "seed": seed,
            "unique": "exact",
            "optimum": optimum,
            "best": {
                "arch": cells[int(np.argmax(best))],
                "value": max(best),
                "report": {"cifar10/params": 1.073466} if report is None else dict(report),
            },
            "curve": best,
            "cpu_seconds": 12.5 + seed,
        }
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def write_diagnostics(path: Path, trials: int, rng: np.random.Generator, points: int = 1500) -> None:
    """A latent plane in which the score is a bowl, and two training curves."""
    places = rng.normal(size=(points, 2)) * [2.0, 1.0]
    steps = np.arange(400)
    np.savez(
        path / "diagnostics.npz",
        **{
            "space_codes": get_space("nasbench201").sample(points, rng),
            "space_latent": places,
            "space_predicted": -((places - [1.0, 0.4]) ** 2).sum(axis=1),
            "trial_latent": rng.normal(size=(trials, 2)) * np.exp(-np.arange(trials) / 30)[:, None]
            + [1.0, 0.4],
            "curve/loss": np.exp(-steps / 80) + 0.05 * rng.random(400),
            "curve/reconstruction_accuracy": 1 - np.exp(-steps / 60),
            "curve_x/reconstruction_accuracy": steps * 5,
        },
    )


def write_compare(
    path: Path,
    methods: Mapping[str, float],
    *,
    seeds: int = 6,
    budget: int = 60,
    optimum: float | None = OPTIMUM,
    runs: bool = True,
) -> Path:
    """A compare directory: methods with their speed, each with the same seeds."""
    path.mkdir(parents=True)
    entries: dict[str, Any] = {}
    for number, (method, speed) in enumerate(methods.items()):
        rng = np.random.default_rng(number)
        curves = [curve(rng, budget, speed) for _ in range(seeds)]
        entries[method] = {
            "curves": curves,
            "cpu_seconds": [float(3 + number + seed) for seed in range(seeds)],
            "best": [{"arch": cell(number, seed), "value": values[-1]} for seed, values in enumerate(curves)],
            "report": {"cifar10/params": [round(float(v), 6) for v in rng.uniform(0.3, 1.5, seeds)]},
            "regret": None,
        }
        if runs:
            for seed, values in enumerate(curves):
                home = path / method.replace(":", "_") / str(seed)
                write_search(
                    home,
                    method=method,
                    seed=seed,
                    budget=budget,
                    values=values,
                    diagnostics=method.startswith("crlso"),
                )
    summary = {
        "format": 1,
        "bench": "nasbench201",
        "metric": METRIC,
        "direction": "max",
        "budget": budget,
        "seeds": list(range(seeds)),
        "optimum": optimum,
        "methods": entries,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "config.yaml").write_text(
        yaml.safe_dump({"kind": "compare", "methods": list(methods), "seeds": seeds})
    )
    return path
