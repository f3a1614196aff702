"""Import torch-geometric once, without the deprecation warning of torch that its import sets off."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
    import torch_geometric.data  # noqa: F401
