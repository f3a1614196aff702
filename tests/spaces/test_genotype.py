import ast
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crlso.errors import ArchitectureError
from crlso.spaces import get_space
from crlso.spaces.genotype import (
    PREFIX,
    cells_from_code,
    format_genotype,
    from_configspace,
    genotype_from_cells,
    parse_genotype,
    to_configspace,
)
from tests.spaces.data import data_file
from tests.spaces.test_darts import DARTS_V2

CELL = (
    "[('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 2), ('dil_conv_5x5', 0), "
    "('sep_conv_5x5', 3), ('avg_pool_3x3', 1), ('dil_conv_3x3', 0), ('skip_connect', 4)]"
)
PLAIN = str([("sep_conv_3x3", source) for source in (0, 1) * 4])


def genotype(normal=CELL, concat="[2, 3, 4, 5]", reduce=PLAIN):
    return f"Genotype(normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat=[2, 3, 4, 5])"


def test_entries():
    """Pairs of predecessors in lexicographic order: (0, 2) is the second of node 3, (1, 3) the fifth of 4."""
    code = parse_genotype(genotype())
    assert code.tolist()[:12] == [0, 3, 2, 1, 6, 0, 4, 1, 4, 3, 5, 2]
    assert code.tolist()[12:] == [0, 3, 3] * 4


@pytest.mark.parametrize(
    "text",
    [
        genotype(concat="range(2, 6)"),
        genotype(concat="(2,3,4,5)"),
        genotype(concat="[2, 3, 4, 5,]"),
        genotype(normal=CELL.replace("'", '"')),
        genotype(normal=CELL.replace("(", "[").replace(")", "]")),
        genotype(normal=CELL.replace("[", "(").replace("]", ",)")),
        genotype(
            normal=CELL.replace(
                "('sep_conv_3x3', 0), ('skip_connect', 1)", "('skip_connect', 1), ('sep_conv_3x3', 0)"
            )
        ),
        genotype().replace(", ", ",").replace("=", " = "),
        f"\n  {genotype()}\n".replace(", (", ",\n    ("),
        f"Genotype(reduce={PLAIN}, reduce_concat=range(2, 6), normal_concat=range(2, 6), normal={CELL},)",
    ],
)
def test_ways_of_writing(text):
    assert format_genotype(parse_genotype(text)) == format_genotype(parse_genotype(genotype()))


def test_the_text_is_what_python_prints():
    """A text is an expression of the literature's named tuple, with the pairs of each node by predecessor."""
    arguments = ast.parse(format_genotype(parse_genotype(DARTS_V2)), mode="eval").body.keywords
    values = {argument.arg: ast.literal_eval(argument.value) for argument in arguments}
    published = ast.parse(DARTS_V2, mode="eval").body.keywords
    for argument in published:
        expected = ast.literal_eval(argument.value)
        if not argument.arg.endswith("concat"):
            by_node = [sorted(expected[i : i + 2], key=lambda pair: pair[1]) for i in range(0, 8, 2)]
            expected = [pair for pairs in by_node for pair in pairs]
        assert values[argument.arg] == expected


def replaced(old, new):
    text = genotype()
    assert old in text
    return text.replace(old, new, 1), text.index(old)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Genotype", "Gen", "expected 'Genotype' at the start, got 'Gen'"),
        (
            "normal=",
            "norm=",
            "expected a field, one of normal, normal_concat, reduce, reduce_concat, got 'norm'",
        ),
        ("'sep_conv_3x3'", "'none'", "expected one of max_pool_3x3, avg_pool_3x3, skip_connect, "),
        ("'sep_conv_3x3'", "sep_conv_3x3", "in quotes, got 'sep_conv_3x3'"),
        ("0), ('skip", "2), ('skip", "expected a predecessor of node 2 of the normal cell, 0 to 1, got '2'"),
        ("0), ('skip", "-1), ('skip", "expected a predecessor of node 2 of the normal cell, 0 to 1, got '-'"),
        ("0), ('skip", "0), ('skip", None),
        ("normal_concat=[2", "normal_concat=[3", "normal_concat must be [2, 3, 4, 5] (or range(2, 6))"),
        ("[2, 3, 4, 5]", "range(6)", "normal_concat must be [2, 3, 4, 5]"),
        ("[2, 3, 4, 5]", "range(2, 5)", "normal_concat must be [2, 3, 4, 5]"),
        ("[2, 3, 4, 5]", "[2, 3, 4, 50]", "expected a node, 0 to 6, got '50'"),
        ("[2, 3, 4, 5]", "__import__('os')", "expected '[' or '(' in normal_concat, got '__import__'"),
        (
            ", ('skip_connect', 4)]",
            "]",
            "expected ',' and a second pair of node 5 of the normal cell, got ']'",
        ),
        (
            "('skip_connect', 4)]",
            "('skip_connect', 4), ('skip_connect', 0)]",
            "expected ']' after the 8 pairs of the normal cell, got '('",
        ),
        ("reduce_concat=", "normal=", "expected a field, one of reduce_concat, got 'normal'"),
    ],
)
def test_wrong_texts(old, new, message):
    text, at = replaced(old, new)
    if message is None:
        parse_genotype(text)
        return
    with pytest.raises(ArchitectureError, match=re.escape(message)) as caught:
        parse_genotype(text)
    found = int(re.match(r"character (\d+) of", str(caught.value))[1])
    assert at <= found <= at + len(new)
    assert "\n" not in str(caught.value)


def test_twice_the_same_source():
    text, _ = replaced("('skip_connect', 1)", "('skip_connect', 0)")
    with pytest.raises(
        ArchitectureError, match="node 2 of the normal cell takes both inputs from 0;"
    ) as caught:
        parse_genotype(text)
    assert str(caught.value).startswith(f"character {text.index('(', 9)} of")


def test_cells_by_themselves():
    np.testing.assert_array_equal(genotype_from_cells(CELL, PLAIN), parse_genotype(genotype()))
    with pytest.raises(ArchitectureError, match=r"^reduce cell, character 0 of '': expected"):
        genotype_from_cells(CELL, "")
    with pytest.raises(ArchitectureError, match="expected the end of the text, got ','"):
        genotype_from_cells(f"{CELL},", PLAIN)
    with pytest.raises(ArchitectureError, match=r"normal cell, .* is a text, got float"):
        genotype_from_cells(float("nan"), PLAIN)


def test_configspace_form():
    """As the official converter gives it (nasbench301 0.3, ``convert_genotype_to_config``)."""
    config = to_configspace(parse_genotype(DARTS_V2))
    expected = {
        "edge_normal_0": "sep_conv_3x3",
        "edge_normal_1": "sep_conv_3x3",
        "edge_normal_2": "sep_conv_3x3",
        "edge_normal_3": "sep_conv_3x3",
        "inputs_node_normal_3": "0_1",
        "edge_normal_6": "sep_conv_3x3",
        "edge_normal_5": "skip_connect",
        "inputs_node_normal_4": "0_1",
        "edge_normal_9": "skip_connect",
        "edge_normal_11": "dil_conv_3x3",
        "inputs_node_normal_5": "0_2",
        "edge_reduce_0": "max_pool_3x3",
        "edge_reduce_1": "max_pool_3x3",
        "edge_reduce_4": "skip_connect",
        "edge_reduce_3": "max_pool_3x3",
        "inputs_node_reduce_3": "1_2",
        "edge_reduce_5": "max_pool_3x3",
        "edge_reduce_7": "skip_connect",
        "inputs_node_reduce_4": "0_2",
        "edge_reduce_11": "skip_connect",
        "edge_reduce_10": "max_pool_3x3",
        "inputs_node_reduce_5": "1_2",
    }
    assert config == {f"NetworkSelectorDatasetInfo:darts:{key}": value for key, value in expected.items()}
    more = {**config, "NetworkSelectorDatasetInfo:darts:layers": 8, "OptimizerSelector:optimizer": "sgd"}
    np.testing.assert_array_equal(from_configspace(more), parse_genotype(DARTS_V2))


def test_configspace_round_trip():
    for code in get_space("darts").sample(200, np.random.default_rng(0)):
        np.testing.assert_array_equal(from_configspace(to_configspace(code)), code)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_normal_0": None}, f"'{PREFIX}edge_normal_0' is missing; allowed: max_pool_3x3, "),
        ({"edge_normal_0": "none"}, f"'{PREFIX}edge_normal_0' is 'none'; allowed: max_pool_3x3, "),
        ({"edge_normal_0": ["skip_connect"]}, f"'{PREFIX}edge_normal_0' is ['skip_connect']; allowed"),
        ({"inputs_node_reduce_4": None}, "inputs_node_reduce_4' is missing; allowed: 0_1, 0_2, 0_3, 1_2,"),
        ({"inputs_node_reduce_3": "0_0"}, "inputs_node_reduce_3' is '0_0'; allowed: 0_1, 0_2, 1_2"),
        ({"inputs_node_reduce_3": "2_1"}, "inputs_node_reduce_3' is '2_1'; allowed: 0_1, 0_2, 1_2"),
        ({"inputs_node_normal_2": "0_1"}, "inputs_node_normal_2' is not part of this architecture"),
        ({"edge_reduce_13": "skip_connect"}, "edge_reduce_13' is not part of this architecture"),
        ({"edge_reduce_14": "skip_connect"}, "edge_reduce_14' is not part of this architecture"),
    ],
)
def test_wrong_configspace_forms(changes, message):
    config = to_configspace(parse_genotype(DARTS_V2))
    for key, value in changes.items():
        if value is None:
            del config[PREFIX + key]
        else:
            config[PREFIX + key] = value
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        from_configspace(config)


def test_configspace_form_is_a_mapping():
    with pytest.raises(ArchitectureError, match="is a mapping, got str"):
        from_configspace(DARTS_V2)


@pytest.mark.parametrize("name", ["darts_nb301_surrogate10000.csv.gz", "darts_random214.csv"])
def test_published_genotypes(name):
    """All can be read, none names one source twice, and the pairs are what the table says."""
    table = pd.read_csv(data_file(f"darts/{name}"))[::10]
    for normal, reduce in zip(table["normal"], table["reduce"], strict=True):
        cells = cells_from_code(genotype_from_cells(normal, reduce))
        for text, cell in zip((normal, reduce), cells, strict=True):
            expected = ast.literal_eval(text)
            for node in range(0, 8, 2):
                assert set(cell[node : node + 2]) == set(expected[node : node + 2])


def test_conditions_of_the_official_configspace():
    """The keys that are active by the official file are the keys of the form, and the values are allowed."""
    found = importlib.util.find_spec("nasbench301")
    if found is None or found.origin is None:
        pytest.skip("nasbench301 is not installed")
    content = json.loads((Path(found.origin).parent / "configspace.json").read_text(encoding="utf-8"))
    choices = {
        entry["name"]: entry["choices"]
        for entry in content["hyperparameters"]
        if entry["name"].startswith((f"{PREFIX}edge_", f"{PREFIX}inputs_node_"))
    }
    parents = {condition["child"]: condition for condition in content["conditions"]}
    for code in get_space("darts").sample(100, np.random.default_rng(0)):
        config = to_configspace(code)
        active = {
            key
            for key in choices
            if key not in parents
            or config[parents[key]["parent"]] in (parents[key].get("values") or [parents[key]["value"]])
        }
        assert active == set(config)
        assert all(value in choices[key] for key, value in config.items())
