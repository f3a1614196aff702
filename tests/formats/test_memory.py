"""Files of any size are read in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import ROOT

SCRIPT = """
import re, sys
from pathlib import Path
from crlso.formats.pickles import stream_pickle
from tests.benchmarks.samples_nats import Pieces, pickled_table

count = int(sys.argv[1])
pieces = Pieces(pickled_table(count))
entries = stream_pickle(pieces, at=("arch2infos",))
read = sum(1 for _ in entries)
assert read == count == len(entries.rest["meta_archs"]) == len(entries.rest["evaluated_indexes"])
# Not the resource module: its figure begins with the memory of the process that started this one.
print(pieces.total, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def streamed(count: int) -> tuple[int, int]:
    """Bytes of a synthetic table that was read, and the most memory that its reader used."""
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(count)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    size, memory = map(int, answer.stdout.split())
    return size, memory


def test_memory_does_not_grow_with_the_file() -> None:
    small, few = streamed(20)
    large, many = streamed(400)
    assert large > 60_000_000 > small
    assert many - few < 30_000_000
    assert many < 200_000_000


@pytest.mark.slow
def test_a_gigabyte_is_read_in_300_megabytes() -> None:
    size, memory = streamed(5_500)
    assert size > 1_000_000_000
    assert memory < 300_000_000
