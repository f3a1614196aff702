"""From run directories to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crlso.errors import UserError
from crlso.protocols import Evaluator, SearchSpace
from crlso.report.page import Page, footer, render, study_page, title
from crlso.report.reading import Run, read_directory
from crlso.report.studies import group
from crlso.runs.files import disk_errors, write_aside


def build(
    dirs: Sequence[Path],
    out: Path,
    *,
    evaluator: Evaluator | Mapping[str, Evaluator] | None = None,
    space: SearchSpace | None = None,
) -> Path:
    """Make one self-contained HTML file from search and compare directories.

    Args:
        dirs: Run directories; those on the same benchmark and metric share one set of plots.
        out: The file to write; missing folders are made.
        evaluator: Knows units, the optimum and the true values behind the latent space's points. One evaluator
            serves the runs on the benchmark of its name (all runs, if they are on one benchmark); several come
            by benchmark name.
        space: Draws the cells where no evaluator is at hand.

    Returns:
        ``out``.

    Raises:
        RunError: A directory is no run directory, a file in it is damaged, or ``out`` can not be written.
    """
    return write_page(make_page(dirs, evaluator=evaluator, space=space), out)


def write_page(page: Page, out: Path) -> Path:
    """Write a page aside and rename it; missing folders are made.

    Raises:
        RunError: The file can not be written.
    """
    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(out, "w") as file:
        file.write(render(page))
    return out


def make_page(
    dirs: Sequence[Path],
    *,
    evaluator: Evaluator | Mapping[str, Evaluator] | None = None,
    space: SearchSpace | None = None,
    notes: Sequence[str] = (),
) -> Page:
    """What the page says, before it is HTML; arguments as of :func:`build`, ``notes`` stand on top."""
    if not dirs:
        raise UserError("no directory given; give one or more made by `crlso search` or `crlso compare`")
    runs = read_all(dirs)
    known = _by_bench(runs, evaluator)
    studies = group(runs, known)
    pages = []
    for number, study in enumerate(studies, start=1):
        own = known.get(study.bench)
        pages.append(study_page(study, f"study-{number}", own, space if own is None else own.space))
    return Page(title(studies, dirs), tuple(notes), tuple(pages), footer())


def read_all(dirs: Sequence[Path]) -> tuple[Run, ...]:
    """The runs of all directories; a directory given twice counts once."""
    once = {path.resolve(): path for path in reversed(dirs)}
    return tuple(run for path in reversed(once.values()) for run in read_directory(path))


def _by_bench(
    runs: Sequence[Run], evaluator: Evaluator | Mapping[str, Evaluator] | None
) -> Mapping[str, Evaluator]:
    if evaluator is None:
        return {}
    if isinstance(evaluator, Mapping):
        return evaluator
    benches = {run.bench for run in runs}
    return dict.fromkeys(benches, evaluator) if len(benches) == 1 else {evaluator.name: evaluator}
