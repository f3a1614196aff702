"""The supernet half of the toolkit. So far: discrete networks trained from scratch.

``supernet.data`` has image data sets, ``supernet.networks`` the families of networks of a space's cells,
``supernet.training`` the training loop, ``supernet.scratch`` the trainer that tables are made with,
``supernet.evaluators`` the same as an evaluator. Importing this package loads no torch.
"""
