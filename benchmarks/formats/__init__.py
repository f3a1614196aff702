"""Readers of foreign file formats: data in, plain values out; nothing is executed."""
