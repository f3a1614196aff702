"""The latent model: graph encoder, code decoder and heads over one space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from crlso.errors import UserError
from crlso.latent.decoder import CodeDecoder, beam, most_likely
from crlso.latent.encoder import GraphEncoder
from crlso.latent.icnn import ConvexHeads, FreeHeads, Heads
from crlso.protocols import Codes, SearchSpace
from crlso.spaces.neighbourhoods import Coordinates


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of a latent model.

    Attributes:
        latent_dim: Dimension of the latent space.
        width: Width of the encoder's node states and of the decoder.
        layers: Rounds of messages in the encoder.
        heads: Heads in the ensemble.
        head_width: Units of a head's hidden layer.
        head_layers: Hidden layers of a head.
        head_rank: Rank of a head's quadratic term.
        head_averaged: Whether a head's output averages its hidden units (:class:`~crlso.latent.icnn.Heads`).
        convex: Whether heads are input-convex; else the same networks without the constraint.
        direct: Whether linear terms lead from a graph's nodes to the mean and from a latent point to the
            logits, beside encoder and decoder: those let no more than ``width`` numbers through.
    """

    latent_dim: int = 24
    width: int = 64
    layers: int = 3
    heads: int = 8
    head_width: int = 32
    head_layers: int = 2
    head_rank: int = 8
    head_averaged: bool = False
    convex: bool = True
    direct: bool = False

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "layers", "heads", "head_width", "head_layers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.head_rank < 0:
            raise UserError(f"head_rank must be 0 or more, got {self.head_rank}")


def sizes_for(space: SearchSpace) -> ModelSettings:
    """Sizes with which the codes of a space can be told apart.

    The dimension is the codes' degrees of freedom, ``sum(cardinality - 1)`` as one-hot codes, but between 24
    and 1,024: 24 for NAS-Bench-201, 128 for DARTS, 784 for ``fxdarts``. With 24 dimensions, a model of DARTS
    reconstructs none of its cells exactly, with 64 three quarters. Where codes have more degrees of freedom
    than networks of this width let through, linear terms go beside encoder and decoder; without them a model
    of ``fxdarts`` knows three of four entries of a code, and no whole code.
    """
    freedom = sum(cardinality - 1 for cardinality in space.cardinalities)
    sizes = ModelSettings(latent_dim=min(max(freedom, 24), 1024))
    return replace(sizes, direct=freedom > sizes.width)


def graphs_at_once(space: SearchSpace) -> int:
    """Graphs of a chunk when codes are encoded: 2,048, fewer in a space whose graphs have many nodes.

    Node states of large chunks take memory (a gigabyte for 2,048 networks of ``fxdarts``) and no less time.
    """
    return max(1, min(2048, 2**18 // space.positions))


class LatentModel(nn.Module):
    """G-VAE and ICNN ensemble that share one latent space.

    The heads predict a *loss* to be minimised (see :mod:`crlso.targets`), so that the best
    architecture is sought by descending convex functions.

    Args:
        space: The search space; the model keeps it to turn codes into graphs and decoded rows into valid
            codes.
        settings: Sizes.
        seed: Of the initial parameters.
        anchor: Where means lie before any training, divided by the root of the dimension: the encoder's
            messages then learn what is added to these points, starting from nothing. They are no parameters
            and no part of the state. ``None``: means are the encoder's alone.
    """

    def __init__(
        self, space: SearchSpace, settings: ModelSettings, *, seed: int, anchor: Coordinates | None = None
    ) -> None:
        super().__init__()
        self.space = space
        self.settings = settings
        self._anchor = anchor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = GraphEncoder(
                len(space.vocabulary),
                space.positions,
                width=settings.width,
                layers=settings.layers,
                latent_dim=settings.latent_dim,
                direct=settings.direct,
            )
            self.decoder = CodeDecoder(
                space.cardinalities,
                latent_dim=settings.latent_dim,
                width=settings.width * 2,
                direct=settings.direct,
            )
            kind: type[Heads] = ConvexHeads if settings.convex else FreeHeads
            # Last of all: encoder and decoder do not depend on the kind.
            self.heads: Heads = kind(
                settings.heads,
                settings.latent_dim,
                width=settings.head_width,
                layers=settings.head_layers,
                rank=settings.head_rank,
                averaged=settings.head_averaged,
            )
        if anchor is not None:
            nn.init.zeros_(self.encoder.mean.weight)
            nn.init.zeros_(self.encoder.mean.bias)
            if self.encoder.direct is not None:
                nn.init.zeros_(self.encoder.direct.weight)

    def posterior(self, codes: Codes) -> tuple[Tensor, Tensor]:
        """Mean and log variance ``[n, latent_dim]`` of each code's posterior; gradients flow."""
        mean, log_variance = self.encoder(self.space.graphs(codes))
        if self._anchor is not None:
            points = torch.from_numpy(self._anchor(codes)).to(mean)
            mean = mean + points * self.settings.latent_dim**0.5
        return mean, log_variance

    @torch.no_grad()
    def encode(self, codes: Codes, *, chunk: int | None = None) -> Tensor:
        """Posterior means ``[n, latent_dim]``, without gradients, in chunks that bound memory."""
        chunk = graphs_at_once(self.space) if chunk is None else chunk
        parts = [self.posterior(codes[i : i + chunk])[0] for i in range(0, len(codes), chunk)]
        return torch.cat(parts) if parts else torch.zeros(0, self.settings.latent_dim)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Codes:
        """The most likely valid code of each latent point: ``[n, latent_dim]`` -> ``[n, d]``."""
        return self.space.repair(most_likely(self.decoder(z)))

    @torch.no_grad()
    def decode_beam(self, z: Tensor, width: int) -> Codes:
        """The ``width`` likeliest codes of each point, repaired: ``[n, latent_dim]`` -> ``[n, width, d]``."""
        candidates = beam(self.decoder(z), width)
        flat = self.space.repair(candidates.reshape(-1, candidates.shape[-1]))
        return flat.reshape(candidates.shape)

    @torch.no_grad()
    def predict(self, codes: Codes) -> Tensor:
        """Loss that each head predicts for each code, ``[heads, n]``; smaller is better."""
        values: Tensor = self.heads(self.encode(codes))
        return values
