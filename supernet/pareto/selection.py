"""Which members of a set are meant: all, the smallest, middle and largest, or by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crlso.errors import RunError, UserError
from crlso.runs.pareto import Member
from crlso.spaces.texts import shown

ALL: Final = "all"
BY_SIZE: Final = ("smallest", "middle", "largest")
CHOICES: Final = f"{ALL}, {', '.join(BY_SIZE)}, or numbers of members, with commas between"


def parse_members(text: str) -> tuple[str | int, ...]:
    """The words and numbers in a text such as ``smallest,middle,largest`` or ``1,4,7``.

    Raises:
        UserError: Something else; the message has the choices.
    """
    words: list[str | int] = []
    for word in (part.strip() for part in text.split(",")):
        number = word.isascii() and word.isdigit() and len(word) < 10
        if not number and word != ALL and word not in BY_SIZE:
            raise UserError(f"--members has {shown(word)}; write {CHOICES}")
        words.append(int(word) if number else word)
    return tuple(words)


def choose(members: Sequence[Member], words: Sequence[str | int], where: str) -> tuple[int, ...]:
    """Numbers of the members that are meant, each once, in the order of the words.

    ``all`` are the non-dominated members; ``smallest``, ``middle`` and ``largest`` are those of them with
    the fewest weights, the median number (of two the smaller one), and the most. A number means any member.

    Args:
        members: The set.
        words: See :func:`parse_members`.
        where: What the set is called in messages.

    Raises:
        UserError: A member that does not exist, or no member that is non-dominated.
    """
    front = sorted(
        (n for n, member in enumerate(members) if member.non_dominated), key=lambda n: members[n].params
    )
    if not front and not all(isinstance(word, int) for word in words):
        raise RunError(
            f"no member of the set in {where} is non-dominated (none is verified); choose members by number,"
            f" {_numbers(members)}"
        )
    found: list[int] = []
    for word in words:
        if isinstance(word, int):
            if word >= len(members):
                raise UserError(f"the set in {where} has no member {word}; it has {_numbers(members)}")
            found.append(word)
        elif word == ALL:
            found += sorted(front)
        else:
            found.append(front[{"smallest": 0, "middle": (len(front) - 1) // 2, "largest": -1}[word]])
    return tuple(dict.fromkeys(found))


def _numbers(members: Sequence[Member]) -> str:
    return "0 alone" if len(members) == 1 else f"0 to {len(members) - 1}"
