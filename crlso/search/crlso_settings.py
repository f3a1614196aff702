"""Settings of convex latent search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from crlso.errors import UserError
from crlso.targets import TargetKind

HeadKind = Literal["quadratic", "linear", "convex", "icnn", "network"]
Acquisition = Literal["sample", "mean", "bound", "improvement"]

SHARES: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {"quadratic": (0.0, 0.3, 1.0), "linear": (0.0,), "convex": (0.0, 0.3, 1.0)}
)
"""Heads with an exact posterior, and weights of quadratic functions that are tried."""

NETWORKS: Final = ("icnn", "network")
"""Heads that learn by gradient steps."""


@dataclass(frozen=True)
class CRLSOSettings:
    """Settings of the search.

    Attributes:
        head: What is fitted to the performance: ``quadratic`` or ``linear`` functions of latent points with
            an exact posterior, ``convex`` companions of such quadratic ones (minimised and ranked by instead
            of them), or an ensemble of input-convex networks (``icnn``) or of the same ones without the
            constraint (``network``); the last two want ``round_steps``.
        initial: Random architectures before the first model.
        round: Architectures proposed from one trained model.
        explore: How many of them are drawn at random instead, so that a region that all heads think badly of
            is looked at again.
        acquisition: What candidates are ranked by: ``sample``: the drawn functions, Thompson sampling;
            ``mean``: the mean function; ``bound``: the mean less a multiple of the deviation;
            ``improvement``: the expected improvement of the best value so far (the last three with
            ``head=quadratic`` or ``linear``). In any case they are decoded at minima of drawn functions.
        coldest: The least that a drawn function has of its distance from the mean function; 1 would be the
            posterior's own draws (not with networks). With ``bound`` it is the least multiple of the
            deviation.
        hottest: The most of it. One function after the other lies elsewhere between the two.
        pretrain_steps: Steps of the G-VAE on unlabelled architectures before the first labels are used.
        round_steps: Steps in every round, encoder, decoder and networks together; 0: the latent space stays
            as pre-trained (not with networks). With the heads that are no networks, an ensemble of
            input-convex networks takes the labels to the encoder and is used for nothing else.
        joint: Whether encoder and decoder learn in these steps; off: the networks alone, on the latent space
            as pre-trained.
        similarity: Weight of the similarity of neighbourhoods, see
            :class:`~crlso.latent.training.TrainingSettings`.
        landmarks: Architectures by whose neighbourhoods latent points are placed: the different networks
            among so many random ones, fewer where graphs have many nodes; all of a space that has up to four
            times as many codes.
        anchored: Whether latent points lie there from the start and the encoder's messages learn what is
            added; otherwise they have to learn all of it.
        unlabelled: Unlabelled architectures in a step of a round.
        learning_rate: Of pre-training; a round uses the same.
        beta: Weight of the KL divergence.
        performance: Weight of the regression of the performance.
        target: What the heads predict: ``rank`` (normal scores of the ranks), ``raw`` (1 - accuracy) or
            ``logit`` (minus the logit of an accuracy in per cent; one objective without constraints); the
            last two of mean 0 and deviation 1.
        heads: Networks; each is fitted to its own random weighting of the labels.
        descent: ``on``: towards each function's minimum in the ball that holds the data; ``off``: no move,
            architectures are decoded at the starts; ``ascent``: towards the maximum. Decoded architectures
            are ranked alike.
        decode: ``beam``: the likeliest codes at the minima and, but for networks, on the lines from starts to
            minima; ``line``: one code at each point of these lines, for networks too; ``nearest``: one code
            at each minimum.
        starts: Points each head's descent starts from; half of them the best evaluated, half random ones.
        descent_steps: Steps of each network's descent.
        quantile: Share of the data that the trust region holds.
        beam: Codes decoded from each point, with ``decode=beam``.
        candidates: Decoded architectures of a round that are encoded again and compared, the likeliest ones.
        pool: Whether all landmarks are compared too, in every round: all networks where the space has few,
            random ones where it has many. Without them what is decoded has to hold the best one. Not where
            rounds train the encoder too, as all would have to be encoded again.
        edits: Of each function's best candidate, so many neighbours in the space at most are compared too.
        latent_dim: Dimension of the latent space.
        width: Width of the encoder.
        layers: Rounds of messages in the encoder.
        direct: Whether linear terms are beside encoder and decoder
            (:class:`~crlso.latent.model.ModelSettings`): more architectures come back from their latent
            points, which lie farther from the similarity of neighbourhoods.
        head_width: Units of a head's hidden layer.
        head_layers: Hidden layers of a head.
        head_rank: Rank of a head's quadratic term.
        noise: Posterior noise at which the heads are trained, in units of its own deviation.
        label_noise: Deviation of the noise that each head's targets get in each round, in target units.
        weight_decay: Of all matrices.
    """

    head: HeadKind = "quadratic"
    initial: int = 5
    round: int = 1
    explore: int = 0
    acquisition: Acquisition = "sample"
    coldest: float = 0.3
    hottest: float = 0.7
    pretrain_steps: int = 400
    round_steps: int = 0
    joint: bool = True
    similarity: float = 100.0
    landmarks: int = 20_000
    anchored: bool = True
    unlabelled: int = 128
    learning_rate: float = 1e-2
    beta: float = 0.0005
    performance: float = 3.0
    target: TargetKind = "rank"
    descent: Literal["on", "off", "ascent"] = "on"
    decode: Literal["beam", "nearest", "line"] = "beam"
    heads: int = 8
    starts: int = 16
    descent_steps: int = 40
    quantile: float = 0.95
    beam: int = 16
    candidates: int = 1000
    pool: bool = True
    edits: int = 64
    latent_dim: int = 128
    width: int = 64
    layers: int = 3
    direct: bool = False
    head_width: int = 32
    head_layers: int = 1
    head_rank: int = 8
    noise: float = 1.0
    label_noise: float = 0.3
    weight_decay: float = 1e-4

    @property
    def moving(self) -> bool:
        """Whether rounds train the encoder."""
        return self.joint and self.round_steps > 0

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.head in NETWORKS and not self.round_steps:
            raise UserError(f"head={self.head} learns in every round: round_steps must be 1 or more, got 0")
        if self.head not in NETWORKS and self.round_steps and not self.joint:
            raise UserError(
                f"joint=off leaves head={self.head} nothing to learn in a round; set round_steps=0"
            )
        if self.acquisition != "sample" and self.head not in ("quadratic", "linear"):
            raise UserError(
                f"acquisition={self.acquisition} is for head=quadratic or linear, which have a deviation; "
                f"head={self.head} takes acquisition=sample"
            )

    def _check_ranges(self) -> None:
        for name in (
            "initial",
            "round",
            "heads",
            "starts",
            "beam",
            "candidates",
            "unlabelled",
            "landmarks",
            "latent_dim",
            "width",
            "layers",
            "head_width",
            "head_layers",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for a model to rank them, got {self.initial}")
        if not 0 <= self.explore <= self.round:
            raise UserError(f"explore must lie between 0 and round ({self.round}), got {self.explore}")
        for name in (
            "pretrain_steps",
            "round_steps",
            "edits",
            "descent_steps",
            "noise",
            "label_noise",
            "weight_decay",
            "similarity",
            "beta",
            "performance",
            "head_rank",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.coldest <= self.hottest:
            raise UserError(f"coldest must lie between 0 and hottest ({self.hottest}), got {self.coldest}")
        if not 0 < self.quantile <= 1:
            raise UserError(f"quantile must lie in (0, 1], got {self.quantile}")
