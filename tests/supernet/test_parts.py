"""Settings of the parts and whether parts fit together: what is built, what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from crlso.errors import UserError
from crlso.spaces import FreeTopologySpace, get_space
from supernet.objectives import LogSum, NodeEntropy, Plain
from supernet.parts import ObjectiveSettings, RelaxationSettings, ShrinkingSettings, SpaceSettings
from supernet.recipe import Recipe, load_recipe
from supernet.relaxation import NodeReLU, NodeSoftmax
from supernet.shrinking import ESSController, SNPSController
from supernet.update_rules import NeighbourhoodAveraged, SingleLevel

EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))


def written(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # Parts that do not fit together.
        (
            "shrinking: {kind: snps}",
            "shrinking.kind=snps needs shares per node; choose relaxation.kind node_relu or node_softmax,"
            " not softmax",
        ),
        (
            "{relaxation: {kind: gdas}, objective: {kind: node_entropy}}",
            "objective.kind=node_entropy needs shares per node; choose relaxation.kind node_relu or"
            " node_softmax, not gdas",
        ),
        (
            "{relaxation: {kind: node_relu}, shrinking: {kind: snps}}",
            "shrinking.kind=snps steers the weight of objective.kind=log_sum, not of plain",
        ),
        (
            "{relaxation: {kind: node_relu}, objective: {kind: node_entropy}, shrinking: {kind: snps}}",
            "shrinking.kind=snps steers the weight of objective.kind=log_sum, not of node_entropy",
        ),
        (
            "{relaxation: {kind: node_softmax}, objective: {kind: log_sum}, shrinking: {kind: ess}}",
            "shrinking.kind=ess steers the weight of objective.kind=node_entropy, not of log_sum",
        ),
        (
            "{relaxation: {kind: node_softmax}, derivation: {kind: perturbation}}",
            "with relaxation.kind=node_softmax an architecture is what is left; derivation.kind must be"
            " strongest, not perturbation",
        ),
        (
            "{update: {kind: second_order}, search: {optimizer: adam}}",
            "update.kind=second_order makes a virtual step of SGD; search.optimizer must be sgd, not adam",
        ),
        (
            "{update: {kind: second_order_exact}, search: {optimizer: adam}}",
            "update.kind=second_order_exact makes a virtual step of SGD",
        ),
        # Names.
        ("shrinking: {kind: fast}", "kind=fast; choose one of none, snps, ess"),
        ("objective: {kind: entropy}", "kind=entropy; choose one of plain, log_sum, node_entropy"),
        ("relaxation: {kind: relu}", "choose one of softmax, gumbel, gdas, node_softmax, node_relu"),
        ("update: {aggregate: median}", "aggregate=median; choose one of mean, worst"),
        ("search: {optimizer: rmsprop}", "optimizer=rmsprop; choose one of sgd, adam"),
        ("shrinking: {treshold: 0.01}", "setting of shrinking of mine 'treshold'"),
        ("smal: {search: {epochs: 1}}", "key of recipe mine 'smal'"),
        # Sections of a preset, the chosen one and the other one.
        ("small: {serach: {epochs: 1}}", "key of recipe mine, small 'serach'"),
        ("published: {serach: {epochs: 1}}", "key of recipe mine, published 'serach'"),
        ("small: {search: {epoch: 1}}", "setting of search of mine 'epoch'"),
        ("small: {search: 3}", "recipe mine, small: search must be a mapping of settings, got 3"),
        ("small: [1]", "recipe mine, small must be a mapping of parts"),
        ("small: {shrinking: {patience: 0}}", "shrinking.patience must be 1 or more, got 0"),
        ("small: {shrinking: {kind: ess}}", "shrinking.kind=ess needs shares per node"),
        # Numbers.
        ("update: {copies: 0}", "update.copies must lie between 1 and 100, got 0"),
        ("update: {strength: 1.5}", "update.strength must lie in [0, 1], got 1.5"),
        ("objective: {weight: 0}", "objective.weight must be a positive number, got 0.0"),
        ("objective: {margin: -1}", "objective.margin must be 0 or more, got -1.0"),
        ("shrinking: {threshold: 0}", "shrinking.threshold must be a positive number, got 0.0"),
        ("shrinking: {target: .inf}", "shrinking of mine: target=inf; it must be a finite number"),
        ("shrinking: {smoothing: 1}", "shrinking.smoothing must lie in [0, 1), got 1.0"),
        ("shrinking: {up: 0.5}", "shrinking.up must be 1 or more, got 0.5"),
        ("shrinking: {down: 2}", "shrinking.down must be 1 or less, got 2.0"),
        ("shrinking: {every: 0}", "shrinking.every must be 1 or more, got 0"),
        ("shrinking: {ladder: -1}", "shrinking.ladder must be 0 or more, got -1"),
        ("shrinking: {verify_epochs: -1}", "shrinking.verify_epochs must be 0 or more, got -1"),
        ("shrinking: {stop_operators: -1}", "shrinking.stop_operators must be 0 or more, got -1.0"),
        ("shrinking: {stop_sparsity: .nan}", "stop_sparsity=nan; it must be a finite number"),
        ("distillation: {ratio: 0}", "distillation.ratio must be a positive number, got 0.0"),
        ("distillation: {stages: []}", "distillation.stages must be weights of 0 or more, not all 0"),
        ("distillation: {stages: [0, 0]}", "distillation.stages must be weights of 0 or more, not all 0"),
        ("distillation: {stages: [1, -1]}", "distillation.stages must be weights of 0 or more"),
        ("derivation: {finetune_steps: -1}", "derivation.finetune_steps must be 0 or more, got -1"),
        ("search: {architecture_clip: -1}", "architecture_clip must be 0 or more, got -1.0"),
        ("search: {betas: [0.5, 1]}", "betas must be two numbers in [0, 1), got (0.5, 1.0)"),
    ],
)
def test_bad_parts_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(written(tmp_path, text), preset="small")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_change_can_break_what_a_recipe_fits_together() -> None:
    with pytest.raises(UserError, match=r"recipe snps: .*shrinking\.kind=ess steers"):
        load_recipe("snps", changes={"shrinking.kind": "ess"})
    both = load_recipe("snps", changes={"shrinking.kind": "ess", "objective.kind": "node_entropy"})
    assert (both.shrinking.kind, both.objective.kind) == ("ess", "node_entropy")


def test_a_presets_section_counts_more_than_the_rest_and_less_than_a_change(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "search: {epochs: 7, batch: 12}\nshrinking: {patience: 9}\n"
        "small: {search: {epochs: 3}, shrinking: {every: 5}}\npublished:\n  search: {epochs: 100}\n",
    )
    small = load_recipe(file, preset="small")
    assert (small.search.epochs, small.search.batch) == (3, 12)
    assert (small.shrinking.patience, small.shrinking.every) == (9, 5)
    assert load_recipe(file).search.epochs == 100
    assert load_recipe(file).shrinking.every == ShrinkingSettings().every
    assert load_recipe(file, preset="small", changes={"epochs": 2}).search.epochs == 2


def test_published_numbers_of_snps() -> None:
    """The released search script for CIFAR-10."""
    for name in ("snps", "dnad"):
        recipe = load_recipe(name)
        shrinking, search = recipe.shrinking, recipe.search
        assert isinstance(recipe.update.build(), SingleLevel)
        assert isinstance(recipe.relaxation.build(EDGES), NodeReLU)
        objective = recipe.objective.build(EDGES)
        assert isinstance(objective, LogSum)
        assert (objective.gamma.item(), objective.mu.item()) == (1e-4, 0.1)
        assert (shrinking.threshold, shrinking.most, shrinking.target) == (0.01, 0.10, 0.005)
        assert (shrinking.up, shrinking.down, shrinking.smoothing) == (1.01, 0.99, 0.90)
        assert (shrinking.patience, shrinking.growth, shrinking.target_growth) == (50, 1.5, 1.0)
        assert shrinking.stop_sparsity * 8 * 4 == 250
        assert (search.optimizer, search.learning_rate, search.final_learning_rate) == ("adam", 5e-4, 5e-4)
        assert (search.betas, search.weight_decay, search.clip) == ((0.5, 0.999), 3e-4, 5.0)
        assert (search.architecture_optimizer, search.architecture_learning_rate) == ("sgd", 0.2)
        assert (search.architecture_betas[0], search.architecture_clip) == (0.0, 5.0)
        assert (search.architecture_start, search.architecture_scale) == (2.0, 0.0)
        assert (search.epochs, search.batch, search.warmup_epochs) == (120, 128, 0)
        assert recipe.distillation.needed == (name == "dnad")


def test_reconstructions_say_so() -> None:
    for name in ("fx_darts", "na_darts"):
        assert "RECONSTRUCTION" in load_recipe(name).summary
    rule = load_recipe("na_darts").update.build()
    assert isinstance(rule, NeighbourhoodAveraged)
    assert (rule.copies, rule.strength, rule.aggregate, rule.passes) == (4, 0.5, "mean", 5)
    worst = load_recipe("na_darts", changes={"update.aggregate": "worst", "update.copies": 2})
    assert worst.update.build().passes == 3


def test_parts_are_built_for_the_edges() -> None:
    alpha = torch.randn(3, 14, 2, generator=torch.Generator().manual_seed(0))
    shares = RelaxationSettings(kind="node_softmax").build(EDGES).shares(alpha, None)
    assert torch.equal(shares, NodeSoftmax(EDGES).shares(alpha, None))
    task = torch.tensor(1.5)
    for settings, objective in (
        (ObjectiveSettings(), Plain()),
        (ObjectiveSettings("log_sum", 0.2, 0.3), LogSum(0.2, 0.3)),
        (ObjectiveSettings("node_entropy", 0.2), NodeEntropy(EDGES, 0.2)),
    ):
        assert torch.equal(settings.build(EDGES)(task, shares), objective(task, shares))


def test_a_controller_takes_the_numbers() -> None:
    """At a plateau: SNPS raises mu and the target, ESS its bound."""
    settings = ShrinkingSettings(
        "snps",
        target=0.25,
        smoothing=0.5,
        up=3.0,
        down=0.5,
        most=1.0,
        patience=1,
        growth=4.0,
        target_growth=2.0,
    )
    objective = LogSum(1.0, 0.1)
    controller = settings.build(objective)
    assert isinstance(controller, SNPSController)
    assert controller.step(torch.tensor(0))
    values = {name: value.item() for name, value in controller.values().items()}
    assert values == {"rate": 0.0, "target": 0.5, "weight": 3.0, "mu": pytest.approx(0.4), "stalls": 0}
    assert not controller.step(torch.tensor(1))
    assert objective.gamma == 1.5
    other = settings.build(NodeEntropy(EDGES, 1.0))
    assert isinstance(other, ESSController)
    assert other.step(torch.tensor(0))
    assert other.values()["most"] == 4.0


def test_spaces() -> None:
    assert SpaceSettings().build(20).name == "darts"
    for cells in (8, 14):
        free, built_in = SpaceSettings("fxdarts").build(cells), get_space("fxdarts")
        assert isinstance(free, FreeTopologySpace)
        assert isinstance(built_in, FreeTopologySpace)
        assert (free.cells, free.operations) == (cells, built_in.operations)
        # The same codes have the same name.
        assert (free.name == "fxdarts") is (cells == built_in.cells)
    own = SpaceSettings("fxdarts", ("skip_connect", "sep_conv_3x3")).build(5)
    assert isinstance(own, FreeTopologySpace)
    assert (own.cells, own.nodes, own.operations) == (5, 4, ("skip_connect", "sep_conv_3x3"))
    with pytest.raises(UserError, match=r"space\.operations .*fxdarts.*not for darts"):
        SpaceSettings("darts", ("skip_connect",)).build(8)


@pytest.mark.parametrize("name", ["snps", "dnad", "fx_darts", "na_darts"])
def test_recipes_are_kept_as_plain_data(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, preset="small")
    parts = {key: value for key, value in recipe.to_dict().items() if key != "name"}
    again = load_recipe(written(tmp_path, yaml.safe_dump(_plain(parts))))
    assert Recipe("", "", "", **_parts(again)) == Recipe("", "", "", **_parts(recipe))


def _plain(data: object) -> object:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return [_plain(value) for value in data] if isinstance(data, tuple) else data


def _parts(recipe: Recipe) -> dict[str, object]:
    return {key: value for key, value in vars(recipe).items() if key not in ("name", "summary", "source")}
