"""Views of the benchmarks' official APIs over our tables: a script changes one import line and runs."""
