"""The supernet half of the toolkit. So far: discrete networks trained from scratch.

``supernet.data`` has image data sets, ``supernet.networks`` the networks of a space's cells,
``supernet.training`` the training loop, ``supernet.scratch`` the trainer that tables are made with.
Importing this package loads no torch.
"""
