"""The latent space: G-VAE, convex heads, their joint training, how good they are, saved models."""

from crlso.latent.convexity import ConvexityReport, check_convexity
from crlso.latent.descent import Descent, DescentSettings, TrustRegion, descend
from crlso.latent.icnn import ConvexHeads
from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.quality import LatentQuality, measure
from crlso.latent.splits import Split, split_by_class
from crlso.latent.storage import load, save
from crlso.latent.training import Labels, Trainer, TrainingCurves, TrainingSettings

__all__ = [
    "ConvexHeads",
    "ConvexityReport",
    "Descent",
    "DescentSettings",
    "Labels",
    "LatentModel",
    "LatentQuality",
    "ModelSettings",
    "Split",
    "Trainer",
    "TrainingCurves",
    "TrainingSettings",
    "TrustRegion",
    "check_convexity",
    "descend",
    "load",
    "measure",
    "save",
    "split_by_class",
]
