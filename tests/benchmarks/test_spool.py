"""Rows of numbers on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import spool as spooling
from benchmarks.spool import Spool


@pytest.mark.parametrize("held", [1, 7, 1 << 17])
def test_rows_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(spooling, "_HELD", held)
    rng = np.random.default_rng(0)
    expected = np.full((300, 3), np.nan)
    put = np.sort(rng.choice(290, 120, replace=False))
    with Spool(tmp_path, 3) as spool:
        for row in put:
            expected[row] = rng.random(3)
            spool.put(int(row), expected[row].tolist())
        for shape in ((40,), (0,), (20, 4), (5, 2, 2)):
            wanted = rng.integers(-1, 300, shape)
            answer = np.where(wanted[..., None] < 0, np.nan, expected[wanted])
            np.testing.assert_array_equal(spool.take(wanted), answer)
        assert len(spool) == put[-1] + 1
        assert list(tmp_path.iterdir()) == []  # nothing that a killed process could leave


def test_rows_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    with Spool(tmp_path, 2) as spool:
        spool.put(4, (1.0, 2.0))
        with pytest.raises(ValueError, match="row 4 of 2 numbers after 5 rows of 2"):
            spool.put(4, (1.0, 2.0))
        with pytest.raises(ValueError, match="row 9 of 1 numbers"):
            spool.put(9, (1.0,))
