"""Predictors of the performance from a few labels, and how good they are on networks they never saw."""
