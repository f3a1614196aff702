"""What a search can ask instead of a table: shared weights, training from scratch."""

from supernet.evaluators.shared_weights import SharedWeights
from supernet.evaluators.train_from_scratch import TrainFromScratch

__all__ = ["SharedWeights", "TrainFromScratch"]
