"""Recipes: what is in them, what may be changed, what is refused in one line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from crlso.errors import UnknownNameError, UserError
from supernet.parts import SearchSettings
from supernet.recipe import Recipe, load_recipe, recipe_names
from supernet.relaxation import Gumbel, Softmax
from supernet.update_rules import FirstOrder, MixedLevel, SecondOrder, SecondOrderExact


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.summary
    assert recipe.source
    recipe.relaxation.build()
    assert recipe.update.build().passes >= 1


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("darts_1st", FirstOrder),
        ("darts_2nd", SecondOrder),
        ("darts_2nd_exact", SecondOrderExact),
        ("milenas", MixedLevel),
    ],
)
def test_recipes_are_what_they_are_called(name: str, rule: type) -> None:
    recipe = load_recipe(name)
    assert isinstance(recipe.update.build(), rule)
    assert isinstance(recipe.relaxation.build(), Softmax)
    assert recipe.search.size_stop == (name == "milenas")


def test_gdas_draws_one_operation() -> None:
    relaxation = load_recipe("gdas").relaxation.build()
    assert isinstance(relaxation, Gumbel)
    assert relaxation.hard


def test_published_numbers_are_those_of_darts() -> None:
    # Paper, appendix A.1.1, and released code, train_search.py.
    settings = load_recipe("darts_1st").search
    assert (settings.epochs, settings.batch, settings.clip) == (50, 64, 5.0)
    assert (settings.learning_rate, settings.momentum, settings.weight_decay) == (0.025, 0.9, 3e-4)
    assert (settings.architecture_learning_rate, settings.architecture_weight_decay) == (3e-4, 1e-3)
    assert settings.architecture_betas == (0.5, 0.999)


def test_learning_rate_is_a_cosine() -> None:
    settings = SearchSettings(epochs=4, learning_rate=1.0, final_learning_rate=0.5)
    expected = [0.5 + 0.25 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert [settings.learning_rate_at(epoch) for epoch in range(4)] == pytest.approx(expected)


def test_what_a_file_of_ones_own_says_counts_more_than_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("search: {epochs: 7}", encoding="utf-8")
    recipe = load_recipe(str(file), preset="small", changes={"clip": 1.0})
    assert (recipe.search.epochs, recipe.search.augmentation, recipe.search.clip) == (7, "shift", 1.0)
    file.write_text("search: {epochs: many}", encoding="utf-8")
    with pytest.raises(UserError, match="epochs"):
        load_recipe(str(file), preset="small")


def test_changes_and_presets() -> None:
    recipe = load_recipe("milenas", preset="small", changes={"epochs": "3", "update.mixing": "0.25"})
    assert recipe.search.epochs == 3
    assert recipe.search.batch == 64
    assert recipe.update.mixing == 0.25
    assert recipe.search.size_stop


def test_temperature_goes_linearly() -> None:
    relaxation = load_recipe("gdas", changes={"relaxation.final_temperature": 1.0}).relaxation
    assert [relaxation.temperature_at(epoch, 4) for epoch in range(4)] == pytest.approx([10, 7, 4, 1])
    assert relaxation.temperature_at(0, 1) == 10


def test_a_file_is_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("summary: mine\nupdate: {kind: single_level}\nsearch: {epochs: 7}\n", encoding="utf-8")
    recipe = load_recipe(str(file))
    assert isinstance(recipe, Recipe)
    assert (recipe.name, recipe.summary, recipe.update.kind, recipe.search.epochs) == (
        "mine",
        "mine",
        "single_level",
        7,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("updat: {kind: first_order}", "key of recipe mine 'updat'.*update"),
        ("update: {knd: first_order}", "setting of update of mine 'knd'.*kind"),
        ("update: {kind: third_order}", "update of mine: kind=third_order; choose one of single_level"),
        ("update: first_order", "update must be a mapping"),
        ("- a", "must be a mapping of parts"),
        ("{", "is no YAML"),
        ("search: {epochs: many}", "epochs=many; it must be a whole number"),
        ("search: {epochs: 0}", "epochs must lie between 1"),
        ("search: {threads: 0}", "threads must be 1 or more"),
        ("search: {batch: 1}", "batch must lie between 2"),
        ("search: {warmup_epochs: 50}", "nothing would be searched"),
        ("search: {learning_rate: -1}", "learning_rate must be a positive number"),
        ("search: {momentum: 1}", "momentum must lie in"),
        ("search: {architecture_betas: [0.5]}", "two numbers"),
        ("relaxation: {temperature: 0}", "temperature must be a positive number"),
        ("update: {mixing: -1}", "mixing must be 0 or more"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(str(file))
    assert "\n" not in str(caught.value)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="darts_1st"):
        load_recipe("darts_3rd")
    with pytest.raises(UnknownNameError, match="small"):
        load_recipe("darts_1st", preset="tiny")
    with pytest.raises(UnknownNameError, match="update"):
        load_recipe("darts_1st", changes={"updates.kind": "first_order"})
    with pytest.raises(UserError, match="no recipe file"):
        load_recipe("./none.yaml")
