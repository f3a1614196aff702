"""Work on Ray: without Ray what to install; with it, the results of the processes of this machine."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass

import pytest

from crlso.errors import UserError
from crlso.runs.ray_tasks import ray_engine
from crlso.runs.workers import run_tasks


@dataclass(frozen=True)
class Add:
    number: int

    def __call__(self, shared: int) -> int:
        if self.number == 13:
            raise UserError("13 is refused")
        return self.number + shared


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "crlso\[ray\]"'):
        ray_engine()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_at_the_address_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setitem(sys.modules, "ray", sys)  # it is not reached
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Ray cluster answers at '{address}'"):
            ray_engine(address=address)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray's own code
def test_on_a_real_ray() -> None:
    pytest.importorskip("ray")
    tasks = [Add(number) for number in range(13)]
    engine = ray_engine(jobs=2)
    assert sorted(engine(tasks, 100)) == sorted(run_tasks(tasks, 100, jobs=1))
    with pytest.raises(UserError, match="13 is refused"):
        list(engine([Add(13)], 100))
