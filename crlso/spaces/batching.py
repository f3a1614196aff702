"""Graph batches without a Python object per graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import BoolArray

if TYPE_CHECKING:
    from torch_geometric.data import Batch

IntArray = NDArray[np.integer[Any]]


def make_batch(
    x: IntArray, position: IntArray, edge_index: IntArray, node_counts: IntArray, edge_counts: IntArray
) -> Batch:
    """A torch-geometric ``Batch`` from arrays that already stand one graph after the other.

    The result equals ``Batch.from_data_list`` over the single graphs, ``to_data_list`` included, at a small
    fraction of its cost. torch is imported here, not with the module.

    Args:
        x: ``[N]`` node labels.
        position: ``[N]`` slot of each node.
        edge_index: ``[2, E]`` source and target, numbered inside each graph from 0.
        node_counts: ``[n]`` nodes per graph, summing to ``N``.
        edge_counts: ``[n]`` edges per graph, summing to ``E``.
    """
    import torch
    from torch_geometric.data import Batch

    def tensor(array: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))

    n = len(node_counts)
    ptr = np.concatenate([[0], np.cumsum(node_counts)])
    edge_ptr = np.concatenate([[0], np.cumsum(edge_counts)])
    batch = Batch(
        x=tensor(x),
        edge_index=tensor(edge_index + np.repeat(ptr[:-1], edge_counts)),
        position=tensor(position),
        batch=tensor(np.repeat(np.arange(n), node_counts)),
        ptr=tensor(ptr),
    )
    # The bookkeeping that Batch.from_data_list leaves behind and get_example() reads.
    zeros = torch.zeros(n, dtype=torch.long)
    batch._num_graphs = n
    batch._slice_dict = {"x": tensor(ptr), "edge_index": tensor(edge_ptr), "position": tensor(ptr)}
    batch._inc_dict = {"x": zeros, "edge_index": tensor(ptr[:-1]), "position": zeros}
    return batch


def select_batch(labels: IntArray, present: BoolArray, wires: IntArray, connected: BoolArray) -> Batch:
    """A ``Batch`` of graphs that are parts of one template of slots and wires.

    Args:
        labels: ``[n, S]`` label of each slot.
        present: ``[n, S]`` whether the graph has a node in the slot; the slot is the node's position.
        wires: ``[2, T]`` source and target slot of each possible edge.
        connected: ``[n, T]`` whether the graph has the edge; both ends must be present.
    """
    graph, slot = np.nonzero(present)
    number = np.cumsum(present, axis=1) - 1  # of a slot's node inside its graph
    edge_graph, wire = np.nonzero(connected)
    edge_index = np.stack([number[edge_graph, wires[0, wire]], number[edge_graph, wires[1, wire]]])
    return make_batch(labels[graph, slot], slot, edge_index, present.sum(axis=1), connected.sum(axis=1))
