"""Files changed by chance, as bad disks and downloads change them."""

from __future__ import annotations

import numpy as np


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits, bytes and stretches changed, lost, doubled or moved, in one to three places."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(changed)))
        if rng.random() < 0.5:  # the beginning has more variety than the long curves
            place = int(place * rng.random() ** 4)
        match int(rng.integers(6)):
            case 0:
                changed[place] ^= 1 << int(rng.integers(8))
            case 1:
                changed[place] = int(rng.integers(256))
            case 2:
                del changed[place : place + int(rng.integers(1, 200))]
            case 3:
                changed[place:place] = rng.bytes(int(rng.integers(1, 200)))
            case 4:
                del changed[max(place, 1) :]
            case _:
                other = int(rng.integers(len(changed)))
                changed[place : place + 100] = changed[other : other + 100]
        if len(changed) < 2:
            break
    return bytes(changed)
