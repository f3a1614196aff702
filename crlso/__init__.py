"""Latent-space optimisation of neural architectures."""

__version__ = "0.1.0"
