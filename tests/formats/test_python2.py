"""Pickles that Python 2.7.18 with numpy 1.16.6 wrote (``cPickle.dumps(value, 2)``) into ``python2.zip``."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crlso.formats.errors import FormatError
from crlso.formats.pickles import read_pickle

ROWS = (np.arange(4 * 3072) * 7 % 251).astype(np.uint8).reshape(4, 3072)  # half of the bytes are not ASCII


def written(name: str) -> bytes:
    with zipfile.ZipFile(Path(__file__).with_name("python2.zip")) as archive:
        return archive.read(name)


@pytest.mark.parametrize("name", ["rows.pkl", "columns.pkl"])  # C and Fortran order
def test_arrays_and_texts_of_python_2(name: str) -> None:
    found = read_pickle(io.BytesIO(written(name)))
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found.pop("data"), ROWS)
    assert found == {
        "batch_label": "training batch 1 of 5",
        "labels": [6, 9, 9, 4],
        "filenames": [
            "leptodactylus_pentadactylus_s_000004.png",
            "camion_s_000148.png",
            "tipper_truck_s_001250.png",
            "american_elk_s_001521.png",
        ],
    }


@pytest.mark.parametrize("code", [b"U\x03a\xe9\xff", b"T\x03\x00\x00\x00a\xe9\xff"])
def test_texts_that_are_not_ascii_are_latin_1(code: bytes) -> None:
    data = b"\x80\x02" + code + b"."
    assert read_pickle(io.BytesIO(data)) == pickle.loads(data, encoding="latin-1") == "a\xe9\xff"


def test_a_memo_that_starts_at_1_has_no_object_0() -> None:
    assert read_pickle(io.BytesIO(b"\x80\x02]q\x01.")) == []
    with pytest.raises(FormatError, match="refers to object 0, which it has not made"):
        read_pickle(io.BytesIO(b"\x80\x02]q\x01h\x00a."))
    with pytest.raises(FormatError, match="object 2 is memoised where 0 is next"):
        read_pickle(io.BytesIO(b"\x80\x02]q\x02."))
