"""The ``crlso`` command: a thin skin over the Python API."""
