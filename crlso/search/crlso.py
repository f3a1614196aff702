"""CR-LSO, our variant: a latent space of neighbourhoods, posterior samples, their minima inside the data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import UserError
from crlso.latent.certificate import certify
from crlso.latent.descent import DescentSettings, TrustRegion, descend
from crlso.latent.gaussian_process import NOISES, expected_improvement
from crlso.latent.projection import project_2d
from crlso.latent.quadratics import QuadraticPosterior, Quadratics
from crlso.latent.training import Labels
from crlso.protocols import Codes, FloatArray, Goal, Keys, SearchSpace
from crlso.search.crlso_latent import Pool, latent_model, latent_points, latent_trainer
from crlso.search.crlso_settings import NETWORKS, SHARES, CRLSOSettings
from crlso.search.observations import Observations, Representatives
from crlso.search.rounds import Rounds
from crlso.targets import centred_losses
from crlso.threads import threads

MAP_POINTS = 3000
"""Architectures drawn for the report's map of the latent space."""

GOLDEN: Final = 5**0.5 / 2 - 0.5
"""Golden ratio, less 1."""

WEIGHTS: Final = (0.0, 0.3, 1.0, 3.0)
"""Weights that are tried of what another task says."""

LINE: Final = (0.25, 0.5, 0.75, 1.0)
"""Where on the way from a start to a minimum architectures are decoded."""


Ranking = Callable[[Tensor], FloatArray]
"""``[m, k]`` points -> ``[functions, m]``, smaller is better."""


@final
class CRLSO:
    """Convex latent search (see docs/architecture.md for the picture).

    1. A few random architectures; a G-VAE pre-trained on unlabelled ones, whose latent products are to be the
       similarity of their neighbourhoods: the kernel that a Gaussian process on graphs would have, at no
       evaluation's cost.
    2. Every round, functions are drawn from the posterior of a Bayesian regression on linear and quadratic
       functions of latent points (:class:`~crlso.latent.quadratics.QuadraticPosterior`).
    3. Each one's minimum in the ball that holds the data is exact: there it is the minimum of a convex
       function that is nowhere above it (:meth:`~crlso.latent.quadratics.Quadratics.minima`).
    4. Architectures are decoded at these minima and on the lines to them (most likely codes first) and
       re-encoded; beside them stand the best of the pool of landmarks, and neighbours of the best one. Each
       function proposes its best unasked one: Thompson sampling.

    With ``head="icnn"`` labels re-train encoder, decoder and an ensemble of input-convex networks in every
    round instead; each sees its own exponential weights on the labels (Bayesian bootstrap, Rubin 1981) and
    its own noise on their targets, and is descended step by step (:func:`crlso.latent.descent.descend`).

    What the parts are worth is told by leaving them out: ``head``, ``descent``, ``joint``, ``decode``,
    ``acquisition``, ``target``, ``pool`` and ``edits`` (:class:`CRLSOSettings`). The curve
    ``certificate_gap`` has for each round how far the predicted value of the best architecture, decoded or
    known, lies above a proven lower bound over the ball, both of the mean function (not with
    ``head="network"``, which has no such bound).

    With several objectives each function of a round is one of the posterior of its own scalarisation
    (:class:`~crlso.search.observations.Observations`), with weights drawn uniformly.

    Departures from the paper (Rao et al., TNNLS 2022): no pseudo-labels for the whole space, ranks instead of
    accuracies, a posterior instead of noise, minima instead of single gradient steps of the wrong sign.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, settings: CRLSOSettings, goal: Goal | None = None
    ) -> None:
        self.space = space
        self._goal = goal or Goal()
        self.settings = settings
        if settings.target == "logit" and (self._goal.objectives > 1 or self._goal.constraints):
            raise UserError("target=logit is for one objective without constraints; take target=rank")
        rng = np.random.default_rng([seed, 1])
        self._rounds = Rounds(space, rng=rng, initial=settings.initial, goal=self._goal)
        self._representatives = Representatives(space)
        self._seed = seed
        wanted = latent_points(space, self._representatives, settings)
        self._pool = Pool(
            space, wanted.landmarks if settings.pool and not settings.moving else wanted.landmarks[:0]
        )
        self._model = latent_model(space, settings, seed=seed, wanted=wanted)
        self._trainer = latent_trainer(self._model, self._representatives, settings, seed=seed, wanted=wanted)
        self._pretrained = False
        self._trained_on = 0
        self._source: tuple[Codes, FloatArray] | None = None

    def warm_start(self, codes: Codes, values: FloatArray) -> None:
        """Begins with what another task says of some architectures, instead of random ones.

        The first round is drawn from the posterior of the other task; from then on its mean is the function
        that the one sought is expected to be like (:class:`~crlso.latent.quadratics.QuadraticPosterior`).

        Args:
            codes: ``[n, d]``.
            values: ``[n]``, larger is better; failed ones (NaN) count like the worst of the others.

        Raises:
            UserError: The heads are networks, which have no posterior to begin with.
        """
        if self.settings.head in NETWORKS:
            raise UserError(
                f"head={self.settings.head} takes no warm start; heads that do: {', '.join(SHARES)}"
            )
        seen = Observations(self.space)
        seen.add(codes, values[:, None])
        self._source = self._representatives(codes), centred_losses(seen.values(), self.settings.target)
        self._rounds.initial = 0

    @threads()
    def ask(self, n: int) -> Codes:
        """The next proposals; trains a model whenever the queue of the last round has run out."""
        return self._rounds.ask(n, self._propose)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the values of evaluated proposals; failed ones count like the worst of the others."""
        self._rounds.tell(codes, values)

    def _labels(self) -> Labels:
        seen = self._rounds.seen
        weights = self._rounds.rng.exponential(size=(self.settings.heads, len(seen)))
        objectives = self._weights(self.settings.heads)
        targets = np.stack([self._targets(shares) for shares in objectives])
        noise = self._rounds.rng.standard_normal((self.settings.heads, len(seen)))
        codes = self._representatives(self._rounds.seen.codes)
        return Labels(codes, targets + self.settings.label_noise * noise, weights)

    def _targets(self, weights: FloatArray | None) -> FloatArray:
        """``[n]``: what is fitted, smaller is better."""
        return centred_losses(self._rounds.seen.values(weights), self.settings.target)

    def _propose(self) -> Codes:
        """One round: train, find minima, decode, pick; plus the random share."""
        settings, seen, rng = self.settings, self._rounds.seen, self._rounds.rng
        if settings.explore == settings.round:
            return self.space.sample(settings.round, rng)
        if not self._pretrained:
            self._trainer.run(settings.pretrain_steps, None)
            self._pretrained = True
        if settings.round_steps and self._trained_on < len(seen):
            # Only new labels are worth a training: at the end of an exhausted space there are none.
            self._learn()
            self._trained_on = len(seen)
        known = self._model.encode(self._representatives(seen.codes))
        background = self._model.encode(self._representatives(self.space.sample(256, rng)))
        if not (known.isfinite().all() and background.isfinite().all()):
            raise UserError(
                f"the latent space's training diverged: learning_rate={settings.learning_rate:g}, "
                f"similarity={settings.similarity:g}; take smaller ones"
            )
        region = TrustRegion.of(torch.cat([background, known]), quantile=settings.quantile)
        chosen = (
            self._descended(known, background, region)
            if settings.head in NETWORKS
            else self._sampled(known, background, region)
        )
        return self._rounds.filled(chosen, settings.round)

    def _learn(self) -> None:
        """What a round learns from the labels by gradient steps."""
        settings, labels = self.settings, self._labels()
        if not settings.joint:
            self._rounds.note(performance=self._trainer.fit_heads(settings.round_steps, labels))
            return
        curves = self._trainer.run(settings.round_steps, labels)
        self._rounds.note(
            reconstruction=curves.reconstruction[-1],
            kl=curves.kl[-1],
            performance=curves.performance[-1],
        )

    def _starts(self, known: Tensor, background: Tensor, weights: FloatArray | None) -> Tensor:
        """Where descents and lines begin: half of them the best evaluated, the others random ones."""
        count = self.settings.starts
        return torch.cat([known[self._rounds.seen.order(weights)[: count // 2]], background])[:count]

    def _weights(self, count: int) -> FloatArray:
        """``[count, objectives]``: weights of objectives for each function, uniform on the simplex."""
        return self._rounds.rng.dirichlet(np.ones(self._goal.objectives), size=count)

    def _sampled(self, known: Tensor, background: Tensor, region: TrustRegion) -> Codes:
        """Thompson sampling: the best candidates of functions drawn from the posterior.

        With several objectives every function has weights of its own.
        """
        settings = self.settings
        # Evenly over the range, whatever is proposed at a time: multiples of the golden ratio.
        turns = len(self._rounds.seen) + np.arange(settings.round - settings.explore)
        spreads = settings.coldest + (settings.hottest - settings.coldest) * (turns * GOLDEN % 1.0)
        several = self._goal.objectives > 1
        objectives = self._weights(len(spreads)) if several else np.ones((1, 1))
        parts = np.split(spreads, len(objectives))
        rankings: list[Ranking] = []
        points, posteriors = [], []
        for weights, part in zip(objectives, parts, strict=True):
            posterior = self._posterior(known, weights)
            functions = self._surrogate(posterior.sample(part, self._rounds.rng), region)
            rankings.append(self._ranking(posterior, functions, part, weights))
            points += self._ways(functions, self._starts(known, background, weights), region)
            posteriors.append(posterior)
        found = self._improved(
            torch.cat(points), lambda latents: np.concatenate([ranking(latents) for ranking in rankings])
        )
        # No architecture in the ball is predicted to be better than the bound: how near is the best known?
        everywhere = torch.cat([known, found.latents])
        means = [self._surrogate(posterior.mean(), region) for posterior in posteriors]
        gaps = [float(mean(everywhere).min() - mean.minima(region).values[0]) for mean in means]
        shares = [posterior.fitted.choice.share for posterior in posteriors]
        self._rounds.note(certificate_gap=float(np.mean(gaps)), quadratic_share=float(np.mean(shares)))
        return found.codes[found.picked]

    def _ranking(
        self, posterior: QuadraticPosterior, functions: Quadratics, spreads: FloatArray, weights: FloatArray
    ) -> Ranking:
        """What candidates are ranked by: one row for each function of a round."""
        kind = self.settings.acquisition
        if kind == "sample":
            return lambda latents: functions(latents).numpy()
        if kind == "mean":
            return lambda latents: posterior.mean()(latents).numpy()

        def bound(latents: Tensor) -> FloatArray:
            mean, deviation = posterior.predict(latents)
            return mean - spreads[:, None] * deviation

        best = float(self._targets(weights).min(initial=0.0))

        def improvement(latents: Tensor) -> FloatArray:
            mean, deviation = posterior.predict(latents)
            return -expected_improvement(-mean, deviation, -best)[None]

        return bound if kind == "bound" else improvement

    def _improved(self, points: Tensor, predict: Ranking) -> _Found:
        """What is decoded at points, the best of the pool, and what is near the best of these.

        Args:
            points: ``[n, k]``.
            predict: What the candidates are ranked by.
        """
        pooled = self._pool.best(self._model, predict, self._rounds.seen.keys)
        decoded = self._candidates(self._decoded(points))[0][: self.settings.candidates]
        codes, keys = self._candidates(np.concatenate([pooled, decoded]))
        latents = self._model.encode(codes)
        picked = self._pick(predict(latents), keys)
        if self.settings.edits and picked:
            near, near_keys = self._candidates(self._edited(codes[picked]), known=keys)
            codes, keys = np.concatenate([codes, near]), np.concatenate([keys, near_keys])
            latents = torch.cat([latents, self._model.encode(near)])
            picked = self._pick(predict(latents), keys)
        return _Found(codes, latents, picked)

    def _surrogate(self, functions: Quadratics, region: TrustRegion) -> Quadratics:
        """The functions that are descended and ranked by."""
        return functions.companion(region) if self.settings.head == "convex" else functions

    def _ways(self, functions: Quadratics, starts: Tensor, region: TrustRegion) -> list[Tensor]:
        """``[n, k]`` points each, where architectures are decoded: ends of functions, and lines to them."""
        if self.settings.descent == "off":
            return [starts]
        aims = functions if self.settings.descent == "on" else functions.negated()
        ends = aims.minima(region).points.float()
        if self.settings.decode == "nearest":
            return [ends]
        return [ends, *(starts + share * (end - starts) for end in ends for share in LINE)]

    def _posterior(self, known: Tensor, weights: FloatArray | None = None) -> QuadraticPosterior:
        targets = self._targets(weights)
        shares = SHARES[self.settings.head]
        if self._source is None:
            return QuadraticPosterior(known, targets, shares=shares, noises=NOISES)
        codes, others = self._source
        source = QuadraticPosterior(self._model.encode(codes), others, shares=shares, noises=NOISES)
        if not len(known):
            return source
        return QuadraticPosterior(
            known, targets, shares=shares, noises=NOISES, similar=source.mean(), weights=WEIGHTS
        )

    def _descended(self, known: Tensor, background: Tensor, region: TrustRegion) -> Codes:
        """The best candidates of the ends of all networks' descents."""
        order = self._rounds.rng.permutation(self.settings.heads)
        heads = self._model.heads
        found = self._improved(
            self._moved(self._starts(known, background, None), region),
            lambda latents: heads(latents).detach().numpy()[order],
        )
        if self.settings.head == "icnn":
            self._rounds.note(certificate_gap=self._gap(torch.cat([known, found.latents]), region))
        return found.codes[found.picked]

    def _moved(self, starts: Tensor, region: TrustRegion) -> Tensor:
        """``[n, k]``: where architectures are decoded, the ends of all networks' ways from all starts."""
        settings, heads = self.settings, self._model.heads
        if settings.descent == "off":
            return starts
        descent = descend(
            heads if settings.descent == "on" else lambda z: -heads(z),
            starts.expand(settings.heads, -1, -1),
            region,
            neighbour_distance=self._neighbour_distance(),
            settings=DescentSettings(steps=settings.descent_steps),
        )
        self._rounds.note(accepted_steps=descent.accepted, descent_distance=descent.distance)
        ends = descent.points
        if settings.decode == "line":
            ends = torch.stack([starts + share * (ends - starts) for share in LINE])
        return ends.reshape(-1, settings.latent_dim)

    def _gap(self, latents: Tensor, region: TrustRegion) -> float:
        """How far the best of ``[n, k]`` points is above a bound of the mean of the input-convex networks."""
        heads = copy.deepcopy(self._model.heads).double()
        points = latents.double()
        predicted = heads(points).mean(0).detach()
        best = int(predicted.argmin())
        return float(predicted[best]) - certify(lambda z: heads(z).mean(0), region, points[best]).bound

    def _decoded(self, points: Tensor) -> Codes:
        """``[n, d]``: the likeliest code of every point, then the second one of every point, and so on."""
        decoded = self._model.decode_beam(points, self.settings.beam if self.settings.decode == "beam" else 1)
        return decoded.swapaxes(0, 1).reshape(-1, decoded.shape[-1])

    def _edited(self, codes: Codes) -> Codes:
        """``[n, d]``: what is one edit away from some architectures, drawn at random where it is too many."""
        found = [codes[:0]]
        for code in codes:
            near = self.space.neighbors(code)
            found.append(near[self._rounds.rng.permutation(len(near))[: self.settings.edits]])
        return np.concatenate(found)

    def _candidates(self, codes: Codes, known: Keys | None = None) -> tuple[Codes, Keys]:
        """The first unasked codes, each class once, without those known, and the keys of their classes."""
        if not len(codes):
            return codes, np.zeros(0, np.uint64)
        codes = self._representatives(_first_of_each(codes))
        keys = self.space.class_keys(codes)
        _, first = np.unique(keys, return_index=True)
        first = np.sort(first)
        old = self._rounds.seen.keys if known is None else np.concatenate([self._rounds.seen.keys, known])
        first = first[~np.isin(keys[first], old)]
        return codes[first], keys[first]

    def _pick(self, predicted: FloatArray, keys: Keys) -> list[int]:
        """For one function after the other, its best candidate of a class not yet picked."""
        taken: list[int] = []
        for turn in range(self.settings.round - self.settings.explore):
            free = ~np.isin(keys, keys[taken])
            if not free.any():
                break
            scores = np.where(free, predicted[turn % len(predicted)], np.inf)
            taken.append(int(np.argmin(scores)))
        return taken

    def _neighbour_distance(self, count: int = 8) -> float:
        codes = self.space.sample(count, self._rounds.rng)
        distances = []
        for code in codes:
            near = self.space.neighbors(code)
            near = near[self._rounds.rng.permutation(len(near))[:8]]
            latents = self._model.encode(np.concatenate([code[None], near]))
            distances.append((latents[1:] - latents[0]).norm(dim=1))
        return max(float(torch.cat(distances).median()), 1e-6)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposal depends on."""
        return {
            "rounds": self._rounds.state_dict(),
            "pretrained": self._pretrained,
            "trained_on": self._trained_on,
            "model": copy.deepcopy(self._model.state_dict()),
            "trainer": self._trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        self._rounds.load_state_dict(state["rounds"])
        self._pretrained = state["pretrained"]
        self._trained_on = state["trained_on"]
        self._model.load_state_dict(state["model"])
        self._trainer.load_state_dict(state["trainer"])
        self._pool.forget()

    @threads()
    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """The latent space and the search's path in two dimensions, and the curves over rounds."""
        if not len(self._rounds.seen):
            return {}
        members = np.unique(self.space.sample(MAP_POINTS, np.random.default_rng(self._seed)), axis=0)
        latents = self._model.encode(self._representatives(members))
        known = self._model.encode(self._representatives(self._rounds.seen.codes))
        flat, path = project_2d(latents, known)
        if self.settings.head in NETWORKS:
            predicted = self._model.heads(latents).mean(0).detach()
        else:
            predicted = self._posterior(known).mean()(latents)[0]
        arrays: dict[str, NDArray[Any]] = {
            "space_codes": members,
            "space_latent": flat,
            "space_predicted": -predicted.numpy(),
            "trial_latent": path,
        }
        return arrays | self._rounds.diagnostics()


@dataclass(frozen=True, eq=False)
class _Found:
    """Architectures that were not asked for yet.

    Attributes:
        codes: ``[n, d]``, of different classes.
        latents: ``[n, k]``.
        picked: Rows that the functions propose, one after the other.
    """

    codes: Codes
    latents: Tensor
    picked: list[int]


def _first_of_each(codes: Codes) -> Codes:
    """Distinct rows in the order in which they come first."""
    _, first = np.unique(codes, axis=0, return_index=True)
    return codes[np.sort(first)]
