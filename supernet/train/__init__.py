"""Architectures trained from scratch into networks that are kept.

``plan`` says what is trained, ``run`` does it in a directory, ``loading`` gives the trained networks back.
Importing this package loads no torch.
"""
