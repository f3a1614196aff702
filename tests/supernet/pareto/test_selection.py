"""Which members are meant."""

from __future__ import annotations

import pytest

from crlso.errors import UserError
from supernet.pareto import Member
from supernet.pareto.selection import choose, parse_members


def made(*params: float, dominated: tuple[int, ...] = ()) -> list[Member]:
    return [
        Member(str(number), number, 1, value, 1.0, 50.0, 60.0, non_dominated=number not in dominated)
        for number, value in enumerate(params)
    ]


MEMBERS = made(0.9, 0.5, 0.1, 0.7, 0.3, 0.05, dominated=(3, 5))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", (0, 1, 2, 4)),
        ("smallest,middle,largest", (2, 4, 0)),
        ("largest", (0,)),
        ("5,3", (5, 3)),
        ("3, smallest,2,2", (3, 2)),
        ("5,all", (5, 0, 1, 2, 4)),
    ],
)
def test_choices(text: str, numbers: tuple[int, ...]) -> None:
    assert choose(MEMBERS, parse_members(text), "here") == numbers


@pytest.mark.parametrize(("params", "middle"), [((3.0, 1.0, 2.0), 2), ((2.0, 1.0), 1), ((1.0,), 0)])
def test_the_middle_is_the_median(params: tuple[float, ...], middle: int) -> None:
    assert choose(made(*params), ["middle"], "here") == (middle,)


@pytest.mark.parametrize("text", ["", "best", "1,,2", "-1", "1.5", "all;1", "١"])
def test_other_words(text: str) -> None:
    with pytest.raises(
        UserError, match=r"--members has '.*'; write all, smallest, middle, largest, or numbers"
    ):
        parse_members(text)


def test_members_that_do_not_exist() -> None:
    with pytest.raises(UserError, match="the set in here has no member 6; it has 0 to 5"):
        choose(MEMBERS, [1, 6], "here")
    with pytest.raises(UserError, match="has no member 1; it has 0 alone"):
        choose(made(1.0), [1], "here")


def test_nothing_verified() -> None:
    members = made(1.0, 2.0, dominated=(0, 1))
    with pytest.raises(UserError, match=r"none is verified.*choose members by number, 0 to 1"):
        choose(members, ["all"], "here")
    assert choose(members, [1], "here") == (1,)
