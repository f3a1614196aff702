"""Whether more of a metric is better, told by its name; a guess that the user is shown and can overrule."""

from __future__ import annotations

import re
from typing import Literal

Direction = Literal["max", "min"]

# fmt: off
_SMALLER = frozenset({
    "loss", "error", "err", "regret", "mse", "rmse", "mae", "nll", "bpc", "bpb", "perplexity", "ppl", "fid",
    "latency", "lat", "ms", "delay", "time", "runtime", "duration", "second", "seconds", "sec", "energy",
    "mj", "power", "cost",
    "param", "params", "parameter", "parameters", "weights", "size", "memory", "mem",
    "flop", "flops", "mflops", "gflops", "mac", "macs", "madds",
})
_LARGER = frozenset({
    "accuracy", "acc", "score", "f1", "auc", "auroc", "precision", "recall", "map", "iou", "miou", "top1",
    "top5", "bleu", "rouge", "psnr", "ssim", "r2", "reward", "throughput", "fps", "correlation", "spearman",
    "kendall",
})
# fmt: on


def guess_direction(name: str) -> tuple[Direction, str]:
    """Direction of a metric and the reason for it.

    A word that means cost anywhere in the name wins (``error_score``, ``time_to_accuracy``); a name without a
    known word is taken to be better when larger.

    Example:
        >>> guess_direction("cifar10_valAcc200")
        ('max', "'acc' in its name")
        >>> guess_direction("latency_ms")
        ('min', "'latency' in its name")
        >>> guess_direction("quality")
        ('max', 'assumed')
    """
    words = _words(name)
    if cost := next((word for word in words if word in _SMALLER), None):
        return "min", f"{cost!r} in its name"
    if gain := next((word for word in words if word in _LARGER), None):
        return "max", f"{gain!r} in its name"
    return "max", "assumed"


def _words(name: str) -> list[str]:
    """Lower-case words of a name in snake_case, camelCase or with other marks; ``acc200`` also as ``acc``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", spaced) if word]
    return words + [short for word in words if (short := word.rstrip("0123456789")) not in ("", word)]
