"""Pickles as data: only what is named beforehand is made, everything else is refused by its name."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, final

from crlso.errors import TableError

Makers = Mapping[tuple[str, str], Callable[..., Any]]
"""For each class or function that a pickle may name (module, name) what of ours is called in its place."""


@final
class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, makers: Makers) -> None:
        super().__init__(io.BytesIO(data))
        self._makers = makers

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        maker = self._makers.get((module, name))
        if maker is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return maker


def unpickle(data: bytes, what: str, makers: Makers = MappingProxyType({})) -> Any:
    """The plain data of a pickle."""
    try:
        return _Unpickler(data, makers).load()
    # What a pickle of wrong bytes can raise is not limited to its own error class.
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise TableError(f"{what} is refused: it must hold plain data only ({error})") from error
