"""What the state of a search holds, and whether a state is that of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from crlso.errors import RunError

STATE_FORMAT: Final = 3
STATE_KEYS: Final = frozenset(
    (
        "format",
        "search",
        "weights",
        "alpha",
        "objective",
        "shrinking",
        "weights_optimizer",
        "architecture_optimizer",
        "epoch",
        "step",
        "stopped",
        "sums",
        "records",
        "history",
        "clock",
    )
)
"""What a state has."""


def check_same(state: Mapping[str, Any], described: Mapping[str, str]) -> None:
    """Whether a state is that of the search that goes on from it.

    Args:
        state: Of some search.
        described: What makes this search the one that it is, in words.

    Raises:
        RunError: The state is of another search (recipe, network, seed), or of another format.
    """
    if state.get("format") != STATE_FORMAT:
        raise RunError(f"the checkpoint has format {state.get('format')}; this version reads {STATE_FORMAT}")
    for key, value in described.items():
        if (there := state["search"].get(key)) != value:
            raise RunError(
                f"the checkpoint is that of another search ({key} is {there} there, {value} here); choose"
                " another directory, or the settings with which it was made"
            )


def check_shapes(state: Mapping[str, Any], weights: Mapping[str, Tensor], alpha: Tensor) -> None:
    """Whether a state's weights are those of this supernet.

    Args:
        state: Of some search.
        weights: Of this one, by name.
        alpha: Its architecture weights.

    Raises:
        RunError: They are not.
    """
    if _shapes(state["weights"]) != _shapes(weights) or state["alpha"].shape != alpha.shape:
        raise RunError(
            "the checkpoint holds the weights of another supernet; choose another directory, or the settings"
            " with which it was made"
        )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}
