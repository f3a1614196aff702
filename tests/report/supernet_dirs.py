"""Directories of `crlso supernet search` in their file format, written by hand: no search is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from crlso.protocols import SearchSpace
from crlso.spaces import EdgeCellSpace, get_space

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
METRIC = "digits/test_accuracy@20"


def layout(space: SearchSpace) -> dict[str, Any]:
    """Kinds, edges and operations of a space's supernet."""
    if isinstance(space, EdgeCellSpace):
        edges, operations = [list(edge) for edge in space.edges], list(space.operations)
        return {"kinds": ["cell"], "edges": edges, "operations": operations}
    edges = [[source, target] for target in range(2, 6) for source in range(target)]
    return {"kinds": ["normal", "reduce"], "edges": edges, "operations": list(OPERATIONS)}


def shares_of(shape: Sequence[int], epochs: int, seed: int) -> NDArray[np.float32]:
    """Softmax of weights that grow from zero in straight lines."""
    slopes = np.random.default_rng(seed).normal(size=shape)
    weights = np.linspace(0.0, 2.5, epochs + 1)[:, None, None, None] * slopes
    powers = np.exp(weights)
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def config(space: SearchSpace, seeds: Sequence[int], epochs: int, **recipe: str) -> dict[str, Any]:
    return {
        "kind": "supernet search",
        "space": {"space": space.name},
        "data": {
            "name": "digits",
            "path": None,
            "split": {"fractions": [0.4, 0.4, 0.2], "shrink": 1, "seed": 0},
        },
        "network": {"channels": 8, "cells": 5},
        "recipe": {
            "name": "darts_1st",
            "summary": "DARTS, first order",
            "source": "Liu, Simonyan, Yang 2019 (arXiv 1806.09055)",
            "relaxation": {"kind": "softmax"},
            "update": {"kind": "first_order"},
            "derivation": {"kind": "strongest"},
            "search": {"epochs": epochs, "batch": 32, "guard": "warn", "skip_limit": 2},
            **recipe,
        },
        "training": {"epochs": 20},
        "supernet": layout(space),
        "data sha256": "0" * 64,
        "seeds": list(seeds),
        "random": None,
        "train": True,
    }


def write_supernet(
    path: Path,
    *,
    space: str = "darts",
    derived: Sequence[float | None] = (97.5, 98.25),
    random_mean: float | None = 96.0,
    random_best: float = 98.0,
    epochs: int = 6,
    done: Sequence[int] | None = None,
    finished: bool = True,
    skips: int = 1,
    eigenvalues: bool = False,
    table: Mapping[str, tuple[float, float]] | None = None,
    recipe: Mapping[str, str] | None = None,
) -> Path:
    """A run.

    Args:
        path: Its directory, which is made.
        space: A built-in space.
        derived: Test accuracy of each search's derived network; None: its training diverged.
        random_mean: Of the first search's random networks, one point more for every other; None: no such.
        random_best: Of the random search.
        epochs: Of a whole search.
        done: Epochs of each search; all by default, and derived then.
        finished: Whether there is a summary.
        skips: Skip connections of the first kind of cell in the last epoch.
        eigenvalues: Whether every second epoch has one.
        table: Value and best value by metric of a table of real trainings.
        recipe: Texts of the recipe.
    """
    chosen = get_space(space)
    seeds = range(len(derived))
    settings = config(chosen, seeds, epochs, **(recipe or {}))
    shape = tuple(len(settings["supernet"][key]) for key in ("kinds", "edges", "operations"))
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    entries, trainings = [], []
    for seed, accuracy in zip(seeds, derived, strict=True):
        rng = np.random.default_rng(seed)
        text, *others = (chosen.format(code) for code in chosen.sample(6, rng))
        count = epochs if done is None else done[seed]
        home = path / "seeds" / str(seed)
        records = [epoch_record(n, shape[0], text, skips, eigenvalues, rng) for n in range(1, count + 1)]
        if records:
            home.mkdir(parents=True)
            (home / "epochs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
            np.savez(home / "architecture.npz", shares=shares_of(shape, count, seed))
        if count == epochs or finished:
            (home / "derived.json").write_text(json.dumps({"architecture": text, "rule": "strongest"}))
        line = json.dumps(
            {"arch": text, "epochs": 20, "seed": seed, "values": {}, "curves": {}, "failed": False}
        )
        trainings.append(f"{hashlib.sha256(line.encode()).hexdigest()[:16]} {line}\n")
        entry = {
            "seed": seed,
            "architecture": text,
            "params": 0.0213 + seed / 1000,
            "flops": 1.5,
            "shared_valid_accuracy": records[-1]["valid_accuracy"] if records else None,
            "search_seconds": sum(record["seconds"] for record in records),
            "search_cpu_seconds": sum(record["cpu_seconds"] for record in records),
            "trained": {"train_accuracy": 99.0, "valid_accuracy": 97.0, "test_accuracy": accuracy},
            "random": None,
            "random_cost": 0.25,
            "table": None,
        }
        if random_mean is not None:
            best = {"architecture": others[0], "valid_accuracy": 97.5, "test_accuracy": random_best}
            mean = random_mean + seed
            entry["random"] = {
                "n": 5,
                "mean": mean,
                "std": 0.75,
                "sem": 0.34,
                "median": mean,
                "best_by_valid": best,
            }
            entry["random"]["architectures"] = others
        if table is not None:
            values = {name: value + seed for name, (value, _) in table.items()}
            entry["table"] = {
                "name": space,
                "values": values,
                "best": {name: best for name, (_, best) in table.items()},
            }
        entries.append(entry)
    (path / "trainings.jsonl").write_text("".join(trainings))
    if finished:
        summary = {
            "format": 1,
            "kind": "supernet search",
            "recipe": settings["recipe"]["name"],
            "space": space,
            "data": "digits: 718 training, 718 validation and 361 test images of 8x8, 10 classes",
            "network": "5 cells, 8 channels",
            "epochs": epochs,
            "metric": METRIC,
            "searches": entries,
            "over_searches": {},
        }
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def epoch_record(
    number: int, kinds: int, text: str, skips: int, eigenvalues: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """One line of ``epochs.jsonl``."""
    return {
        "epoch": number,
        "train_loss": 2.0 / number,
        "train_accuracy": 100.0 - 50.0 / number,
        "valid_loss": 2.2 / number,
        "valid_accuracy": float(99.0 - 50.0 / number + rng.normal()),
        "entropy": [2.0 - 0.01 * number] * kinds,
        "skips": [skips, *[0] * (kinds - 1)],
        "convolutions": [4] * kinds,
        "architecture": text,
        "eigenvalue": 0.1 * number if eigenvalues and number % 2 == 0 else None,
        "learning_rate": 0.025,
        "cpu_seconds": 2.5,
        "seconds": 2.75,
        "warnings": [],
    }
