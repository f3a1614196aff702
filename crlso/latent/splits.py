"""Held-out architectures that are really new: whole classes of identical networks are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crlso.protocols import Codes, SearchSpace


@dataclass(frozen=True)
class Split:
    """Training and held-out codes; no network occurs on both sides under different codes."""

    train: Codes
    held_out: Codes


def split_by_class(space: SearchSpace, codes: Codes, *, share: float, rng: np.random.Generator) -> Split:
    """Holds out a share of the exact isomorphism classes, drawn uniformly among the classes.

    A split by code would put one network on both sides (NAS-Bench-201 has 15,625 codes and 5,260 networks).
    """
    keys = space.class_keys(codes, "exact")
    classes = np.unique(keys)
    held = rng.choice(classes, max(1, round(share * len(classes))), replace=False)
    outside = np.isin(keys, held)
    return Split(train=codes[~outside], held_out=codes[outside])
