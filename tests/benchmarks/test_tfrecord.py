"""The framing of TFRecord files, against published checksums and TensorBoard's reader and writer."""

from __future__ import annotations

import io
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as reference
from tensorboard.summary.writer.record_writer import RecordWriter

from benchmarks.formats.tfrecord import RECORD_LIMIT, masked_crc32c, read_records
from crlso.errors import TableError
from tests.benchmarks.samples_tfrecord import framed, masked, write_records

HERE = Path("file.tfrecord")


def read(data: bytes) -> list[bytes]:
    return [record for _, record in read_records(io.BytesIO(data), HERE)]


@pytest.mark.parametrize(
    ("data", "checksum"),  # RFC 3720, B.4, and the check value of the CRC catalogue
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_crc32c(data: bytes, checksum: int) -> None:
    assert google_crc32c.value(data) == checksum
    assert google_crc32c.implementation == "c"  # a thousand times as fast as the one in Python


@given(st.binary(max_size=300))
def test_masked_checksum(data: bytes) -> None:
    assert masked_crc32c(data) == reference(data)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_records_written_by_tensorboard(records: list[bytes]) -> None:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for record in records:
        writer.write(record)
    data = buffer.getvalue()
    found = list(read_records(io.BytesIO(data), HERE))
    assert [record for _, record in found] == records
    assert [offset for offset, _ in found] == [
        sum(16 + len(earlier) for earlier in records[:i]) for i in range(len(records))
    ]


def test_samples_are_read_by_tensorboard(tmp_path: Path) -> None:
    records = [b"", b"one", bytes(1000)]
    reader = PyRecordReader_New(str(write_records(tmp_path / "f", records)).encode(), 0, b"")
    found = []
    for _ in records:
        reader.GetNext()
        found.append(reader.record())
    assert found == records
    with pytest.raises(errors.OutOfRangeError):
        reader.GetNext()


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    records = [b"first", b"", b"the third"]
    data = b"".join(map(framed, records))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TableError, match=r"^file\.tfrecord, record [123] \(byte \d+\): "):
            read(bytes(changed))
    ends = {0, 21, 37, 62}
    assert len(data) == max(ends)
    for length in set(range(len(data))) - ends:
        with pytest.raises(TableError, match="ends inside it"):
            read(data[:length])
    # Only a cut between two records is a shorter file of the same format.
    assert [len(read(data[:length])) for length in sorted(ends)] == [0, 1, 2, 3]


def test_the_message_names_the_record() -> None:
    data = framed(b"first") + framed(b"second")
    with pytest.raises(TableError, match=r"record 2 \(byte 21\): its bytes do not fit their checksum"):
        read(data[:-5] + b"!" + data[-4:])
    with pytest.raises(TableError, match=r"record 2 \(byte 21\): its length does not fit its checksum"):
        read(framed(b"first") + b"x" * 12)


def test_a_long_record_is_refused_before_it_is_read() -> None:
    for length in (RECORD_LIMIT + 1, 2**63, 2**64 - 1):
        head = length.to_bytes(8, "little")
        with pytest.raises(TableError, match="bytes long; at most 65,536"):
            read(head + masked(head))
    assert read(framed(bytes(RECORD_LIMIT))) == [bytes(RECORD_LIMIT)]
