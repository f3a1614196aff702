"""Sets in folders: read back as they were written, damaged ones refused with their line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crlso.errors import ArchitectureError, RunError
from crlso.spaces import get_space
from crlso.spaces.fxdarts import FreeTopologySpace
from supernet.pareto import Member, read_set, write_set
from supernet.train.architectures import read_architectures
from tests.spaces.test_darts import DARTS_V2

SMALL = FreeTopologySpace("small", cells=3, nodes=2, operations=("conv", "skip"))
HEADER = "member,architecture,step,operators,params,flops,shared_valid_accuracy,valid_accuracy,non_dominated"
ROW = "0,|conv~0|+|skip~1|/|conv~0|+|skip~1|/|conv~0|+|skip~1|,5,6,0.1,2.5,80.0,90.5,true"


def members(texts: list[str]) -> list[Member]:
    rng = np.random.default_rng(0)
    return [
        Member(
            text,
            int(rng.integers(1000)),
            place,
            *rng.random(2).tolist(),
            *(100 * rng.random(2)).tolist(),
            place > 1,
        )
        for place, text in enumerate(texts)
    ]


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    codes = SMALL.sample(5, np.random.default_rng(1))
    written = members([SMALL.format(code) for code in codes])
    write_set(tmp_path, SMALL, written)
    assert read_set(tmp_path) == read_set(tmp_path, SMALL) == tuple(written)
    table = pd.read_csv(tmp_path / "pareto.csv")
    assert table.member.tolist() == [0, 1, 2, 3, 4]
    assert table.params.tolist() == [member.params for member in written]
    assert table.non_dominated.tolist() == [False, False, True, True, True]


def test_what_is_not_measured(tmp_path: Path) -> None:
    text = SMALL.format(SMALL.sample(1, np.random.default_rng(0))[0])
    write_set(tmp_path, SMALL, [Member(text, 1, 2, 0.5, 1.5, math.nan, math.nan)])
    (found,) = read_set(tmp_path)
    assert math.isnan(found.valid_accuracy)
    assert math.isnan(found.shared_valid_accuracy)
    assert (tmp_path / "pareto.csv").read_text(encoding="utf-8").endswith(",0.5,1.5,,,false\n")


def test_sets_of_another_space(tmp_path: Path) -> None:
    """A genotype of DARTS has commas and quotes."""
    darts = get_space("darts")
    text = darts.format(darts.parse(DARTS_V2))
    write_set(tmp_path, darts, members([text]))
    assert [member.architecture for member in read_set(tmp_path, darts)] == [text]
    assert json.loads((tmp_path / "genotypes.json").read_text(encoding="utf-8")) == [
        {"member": 0, "architecture": text}
    ]


def test_genotypes(tmp_path: Path) -> None:
    """Operators by node; cell 1 is used by nothing: the last cell takes the cell before it alone."""
    text = "|conv~0|skip~1|+|skip~2|/|conv~0|+|conv~1|/|conv~0|+|skip~0|conv~2|"
    write_set(tmp_path, SMALL, members([text]))
    (genotype,) = json.loads((tmp_path / "genotypes.json").read_text(encoding="utf-8"))
    assert genotype["architecture"] == text
    assert genotype["cells"] == [
        [[["conv", 0], ["skip", 1]], [["skip", 2]]],
        None,
        [[["conv", 0]], [["skip", 0], ["conv", 2]]],
    ]
    assert read_architectures(SMALL, [str(tmp_path / "genotypes.json")]) == (text,)


def test_a_member_of_no_space_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="expected one of conv, skip"):
        write_set(tmp_path, SMALL, members(["|pool~0|+|skip~1|/|conv~0|+|skip~1|/|conv~0|+|skip~1|"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1 must be member,architecture,"),
        ("a,b\n", "line 1 must be member,architecture,"),
        (f"{HEADER}\n", "holds no member"),
        (f"{HEADER}\n{ROW}\n{ROW}\n", "line 3: member 0, expected 1"),
        (f"{HEADER}\n{ROW}\n1,x\n", "line 3: 2 columns, expected 9"),
        (f"{HEADER}\n{ROW}\n\n", "line 3: 0 columns, expected 9"),
        (
            f"{HEADER}\n{ROW.replace('true', 'yes')}\n",
            "line 2: non_dominated must be true or false, got 'yes'",
        ),
        (f"{HEADER}\n{ROW.replace('0.1', 'nan')}\n", "line 2: params must be a number from 0 on, got 'nan'"),
        (f"{HEADER}\n{ROW.replace('2.5', '-1')}\n", "line 2: flops must be a number from 0 on, got '-1'"),
        (
            f"{HEADER}\n{ROW.replace('90.5', '900')}\n",
            "line 2: valid_accuracy must be a number from 0 to 100",
        ),
        (f"{HEADER}\n{ROW.replace(',5,', ',1.5,')}\n", "line 2: step must be a whole number, got '1.5'"),
        (f"{HEADER}\n{ROW.replace(',5,', ',,')}\n", "line 2: step must be a whole number, got ''"),
        (f'{HEADER}\n0,"{ROW[2:]}', "line 2: "),
        (f'{HEADER}\n0,"a\nb",5,6,0.1,2.5,80,90,true\n', "line 2: architecture must be a text of one line"),
        (f"{HEADER}\n{ROW.replace('conv~0', 'pool~0')}\n", "line 2: not of the space 'small': character"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "pareto.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(RunError) as error:
        read_set(tmp_path, SMALL)
    assert said in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pareto\.csv: no such file"):
        read_set(tmp_path)
    (tmp_path / "pareto.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="it is no text"):
        read_set(tmp_path)
