"""Files against the digests that their publishers state."""

from __future__ import annotations

from benchmarks.formats.files import file_digests
from benchmarks.importers.progress import byte_progress
from benchmarks.importers.registry import Source
from crlso.errors import TableError

_ANOTHER = "NOT the published file of this name (MD5)"


def source_digests(source: Source) -> dict[str, str]:
    """Name, MD5 and SHA-256 of the file to be imported, for the header of the table."""
    with byte_progress("checksum", source.path, enabled=source.progress) as on_bytes:
        md5, sha256 = file_digests(source.path, on_bytes)
    return {"file": source.path.name, "file md5": md5, "file sha256": sha256}


def published_digits(source: Source, digits: str, md5: str) -> str:
    """Compare the file's MD5 with the digits in its published name.

    Args:
        source: Says whether the user accepts another file.
        digits: The last digits of the MD5, as the name has them.
        md5: Of the file.

    Returns:
        What the table's header says of it: also that it is another file, where the user accepts that.

    Raises:
        TableError: It is another file.
    """
    if md5.endswith(digits):
        return f"MD5 ends in {digits} as the published file's"
    if source.unverified:
        return _ANOTHER
    raise TableError(
        f"{source.path} is not the published file of this name: its MD5 ends in {md5[-len(digits) :]}, not "
        f"in {digits}; download it again, or accept it with --unverified"
    )


def vouchers(checksum: str, published: str) -> str:
    """What the table's header says of how the file was verified.

    Args:
        checksum: The format's own checksum, which was compared; empty: it has none.
        published: What :func:`published_digits` says; empty: the file has no published name.

    Returns:
        Both; empty where nothing tells that the file is whole.
    """
    if not checksum and published == _ANOTHER:
        return ""
    return "; ".join(filter(None, (checksum, published)))
