"""Evaluators that compute what a table would hold: our own surrogate, and NAS-Bench-301's ensembles."""
