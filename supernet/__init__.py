"""The supernet half of the toolkit: planned, empty so far (see docs/architecture.md)."""
