"""Graph encoder of the G-VAE: message passing along and against the data flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MessagePassing

from crlso.latent.messages import Round, plan, sum_rows, take_rows

LARGE = 64
"""Nodes per graph, on average, from which equal nodes are sought and computed once."""


class DirectedGraphConv(MessagePassing):  # type: ignore[misc]  # torch-geometric is untyped
    """One round of messages that tells predecessors from successors.

    ``h_i <- h_i + act(W_self h_i + sum_{j -> i} W_in h_j + sum_{i -> j} W_out h_j + b)``

    Departure from the CR-LSO release, whose messages run over a symmetrised graph and so cannot tell a cell
    from its reverse: here the two directions have weights of their own.

    Shapes:
        node states ``[N, width]``, edge_index ``[2, E]`` along the data flow -> node states ``[N, width]``.
    """

    def __init__(self, width: int) -> None:
        super().__init__(aggr="sum")
        self.self_weight = nn.Linear(width, width)
        self.in_weight = nn.Linear(width, width, bias=False)
        self.out_weight = nn.Linear(width, width, bias=False)

    def forward(self, states: Tensor, edge_index: Tensor) -> Tensor:
        """One residual update of all node states."""
        received = self.propagate(edge_index, states=self.in_weight(states))
        returned = self.propagate(edge_index.flip(0), states=self.out_weight(states))
        return states + nn.functional.silu(self.self_weight(states) + received + returned)

    def merged(self, states: Tensor, step: Round) -> Tensor:
        """The same update for classes of nodes of equal states (:mod:`crlso.latent.messages`).

        Shapes:
            ``[classes before, width]`` -> ``[classes after, width]``.
        """
        received = step.received.spread(self.in_weight(step.received.sums(states)))
        returned = step.returned.spread(self.out_weight(step.returned.sums(states)))
        own = self.self_weight(states)
        if step.own is not None:
            own, states = take_rows(own, step.own), take_rows(states, step.own)
        return states + nn.functional.silu(own + received + returned)

    def message(self, states_j: Tensor) -> Tensor:
        """What one neighbour sends: its already transformed state, ``[E, width]``."""
        return states_j


class GraphEncoder(nn.Module):
    """Batch of architecture graphs -> Gaussian posterior over latent points.

    A node starts from the sum of an embedding of its operation and one of its position; the nonlinearity
    before the first sum makes the pair, not the two parts, what is counted, so different codes stay different
    under the sum over nodes that reads the graph out.

    Args:
        vocabulary: Number of node labels.
        positions: Number of node positions.
        width: Width of node states.
        layers: Rounds of messages.
        latent_dim: Dimension of the latent space.
        direct: Whether a vector for each label at each position is added to the mean, besides what the
            messages say: the sum over nodes lets no more than ``width`` numbers through.

    Shapes:
        Batch of n graphs -> mean ``[n, latent_dim]``, log variance ``[n, latent_dim]``.
    """

    def __init__(
        self,
        vocabulary: int,
        positions: int,
        *,
        width: int,
        layers: int,
        latent_dim: int,
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.operation = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.enter = nn.Linear(width, width)
        self.convs = nn.ModuleList(DirectedGraphConv(width) for _ in range(layers))
        self.readout = nn.Linear(width, width)
        self.mean = nn.Linear(width, latent_dim)
        self.log_variance = nn.Linear(width, latent_dim)
        self.direct = nn.Embedding(positions * vocabulary, latent_dim) if direct else None
        if self.direct is not None:
            # Means start at a variance of 1 at most, however many nodes a graph has.
            nn.init.normal_(self.direct.weight, std=positions**-0.5)

    def forward(self, graphs: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior of each graph."""
        large = len(graphs.x) > LARGE * graphs.num_graphs
        summed = self.summed_merged(graphs) if large else self.summed(graphs)
        # The variance is kept between e^-10 and e^2, so that a stray step can not make the noise explode.
        mean, log_variance = self.mean(summed), self.log_variance(summed).clamp(-10.0, 2.0)
        if self.direct is not None:
            labels = graphs.position * len(self.operation.weight) + graphs.x
            mean = mean + sum_rows(self.direct.weight, labels, graphs.ptr)
        return mean, log_variance

    def summed(self, graphs: Batch) -> Tensor:
        """Sum over the nodes of each graph ``[n, width]``, every node computed by itself."""
        edge_index: Tensor = graphs.edge_index
        states = self._enter(graphs.x, graphs.position)
        for conv in self.convs:
            states = conv(states, edge_index)
        nodes = self._leave(states)
        summed = torch.zeros(graphs.num_graphs, nodes.shape[1], dtype=nodes.dtype, device=nodes.device)
        return summed.index_add_(0, graphs.batch, nodes)

    def summed_merged(self, graphs: Batch) -> Tensor:
        """The same sum, nodes of equal states computed once: faster where graphs are large."""
        steps = plan(graphs, len(self.convs))
        states = self._enter(steps.x, steps.position)
        for conv, step in zip(self.convs, steps.rounds, strict=True):
            states = conv.merged(states, step)  # type: ignore[operator]  # ModuleList forgets the class
        return sum_rows(self._leave(states), steps.nodes, steps.ptr)

    def _enter(self, x: Tensor, position: Tensor) -> Tensor:
        return nn.functional.silu(self.enter(self.operation(x) + self.position(position)))

    def _leave(self, states: Tensor) -> Tensor:
        return nn.functional.silu(self.readout(states))
