"""Decoder of the G-VAE: a latent point -> a distribution over codes, every one of them valid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crlso.protocols import CODE_DTYPE, Codes


class CodeDecoder(nn.Module):
    """Latent points -> independent categorical distributions over the entries of a code.

    One shot, not autoregressive, as in the CR-LSO release; but there is no head for what a code does not
    contain (source and target of an edge), and entries of different cardinality share one padded, masked
    tensor. What is decoded goes through :meth:`crlso.protocols.SearchSpace.repair`, so all of it is valid.

    Args:
        cardinalities: Of the entries.
        latent_dim: Dimension of the latent space.
        width: Units of the two hidden layers.
        direct: Whether a linear function of the latent point is added to what the layers say.

    Shapes:
        ``[n, latent_dim]`` -> logits ``[n, d, max cardinality]``, minus infinity beyond an entry's
        cardinality.
    """

    allowed: Tensor

    def __init__(
        self, cardinalities: Sequence[int], *, latent_dim: int, width: int, direct: bool = False
    ) -> None:
        super().__init__()
        largest = max(cardinalities)
        self.d = len(cardinalities)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, self.d * largest),
        )
        self.direct = nn.Linear(latent_dim, self.d * largest, bias=False) if direct else None
        allowed = torch.arange(largest)[None, :] < torch.as_tensor(cardinalities)[:, None]
        self.register_buffer("allowed", allowed, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Masked logits of every entry."""
        flat: Tensor = self.layers(z) if self.direct is None else self.layers(z) + self.direct(z)
        logits = flat.view(len(z), self.d, -1)
        return logits.masked_fill(~self.allowed, float("-inf"))


def negative_log_likelihood(logits: Tensor, codes: Tensor) -> Tensor:
    """Nats that the decoder needs for each code: ``[n, d, c]``, ``[n, d]`` int64 -> ``[n]``."""
    return -torch.log_softmax(logits, dim=-1).gather(-1, codes[..., None])[..., 0].sum(-1)


def most_likely(logits: Tensor) -> Codes:
    """The code of highest probability: ``[n, d, c]`` -> ``[n, d]``."""
    return logits.argmax(-1).numpy().astype(CODE_DTYPE)


def draw(logits: Tensor, generator: torch.Generator) -> Codes:
    """One code drawn from each distribution: ``[n, d, c]`` -> ``[n, d]``."""
    n, d, c = logits.shape
    flat = torch.softmax(logits, dim=-1).reshape(n * d, c)
    return torch.multinomial(flat, 1, generator=generator).view(n, d).numpy().astype(CODE_DTYPE)


def beam(logits: Tensor, width: int) -> Codes:
    """The ``width`` most likely codes of each distribution, best first: ``[n, d, c]`` -> ``[n, width', d]``.

    Exact, because the entries are independent: the best partial codes are kept entry by entry. Only the
    ``width - 1`` entries whose two likeliest values are closest are searched: a code that departs from the
    likeliest one in any other entry has ``width`` codes before it, the likeliest and one departure in each
    of these. ``width'`` is smaller only where the space has fewer codes.
    """
    # Sums over hundreds of entries differ by less than float32 resolves.
    logp = torch.log_softmax(logits.double(), dim=-1)
    n, d, c = logp.shape
    two = logp.topk(min(2, c), dim=-1).values
    closest = (two[..., 0] - two[..., -1]).topk(min(d, width - 1), dim=1, largest=False).indices
    searched = closest.sort(dim=1).values
    logp = logp.gather(1, searched[:, :, None].expand(-1, -1, c))
    scores = torch.zeros(n, 1, dtype=torch.float64)
    prefixes = torch.zeros(n, 1, 0, dtype=torch.int64)
    for i in range(searched.shape[1]):
        grown = (scores[:, :, None] + logp[:, None, i, :]).view(n, -1)
        scores, chosen = grown.topk(min(width, grown.shape[1]), dim=1)
        parent = torch.div(chosen, c, rounding_mode="floor")
        kept = prefixes.gather(1, parent[:, :, None].expand(-1, -1, i))
        prefixes = torch.cat([kept, (chosen % c)[:, :, None]], dim=2)
    # What is left beyond the number of codes has a value that its entry does not take.
    prefixes = prefixes[:, : int(torch.isfinite(scores[0]).sum())]
    count = prefixes.shape[1]
    found = logits.argmax(-1)[:, None].repeat(1, count, 1)
    found.scatter_(2, searched[:, None].expand(-1, count, -1), prefixes)
    codes: Codes = found.numpy().astype(CODE_DTYPE)
    return codes
