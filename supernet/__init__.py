"""The supernet half of the toolkit: networks that share their weights, and what trains.

``supernet.search`` runs a recipe (``supernet.recipe``, ``recipes/``) from a plan to a summary. Its parts:
``supernet.networks`` (families of networks of a space's cells, their supernets in ``networks.relaxed``),
``supernet.relaxation``, ``supernet.update_rules``, ``supernet.derivation``, ``supernet.curvature``.
``supernet.data`` has images and their augmentation, ``supernet.processes`` device and precision,
``supernet.training`` and ``supernet.scratch`` train discrete networks, ``supernet.evaluators`` has shared
weights and training as evaluators. Importing this package loads no torch.
"""
