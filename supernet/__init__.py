"""Evaluators that train: networks of the spaces, relaxed and discrete."""
