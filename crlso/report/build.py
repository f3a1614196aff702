"""From run directories to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crlso.errors import RunError, UserError
from crlso.protocols import Evaluator, SearchSpace
from crlso.report.page import Page, footer, render, study_page, title
from crlso.report.reading import WANTED, Run, read_directory
from crlso.report.studies import Study, group
from crlso.report.supernet_page import supernet_pages
from crlso.report.supernet_reading import SupernetRun, is_supernet_directory, read_supernet
from crlso.report.training_page import training_pages
from crlso.report.training_reading import TrainingRun, is_training_directory, read_training
from crlso.runs.files import disk_errors, write_aside
from crlso.spaces import BUILT_IN, get_space

AnyRun = Run | SupernetRun | TrainingRun


def build(
    dirs: Sequence[Path | str],
    out: Path | str,
    *,
    evaluator: Evaluator | Mapping[str, Evaluator] | None = None,
    space: SearchSpace | None = None,
) -> Path:
    """Make one self-contained HTML file from directories of searches, comparisons, supernets and trainings.

    Args:
        dirs: Run directories; those on the same benchmark and metric share one set of plots, and every
            supernet search, and every directory of trainings, has a part of the page.
        out: The file to write; missing folders are made.
        evaluator: Knows units, the optimum and the true values behind the latent space's points. One
            evaluator serves the runs on the benchmark of its name (all runs, if they are on one benchmark);
            several come by benchmark name.
        space: Draws the cells where no evaluator is at hand.

    Returns:
        ``out``.

    Raises:
        RunError: A directory is no run directory, a file in it is damaged, or ``out`` can not be written.
    """
    runs = read_all([Path(path) for path in dirs])
    return write_page(make_page(runs, evaluator=evaluator, space=space), Path(out))


def write_page(page: Page, out: Path) -> Path:
    """Write a page aside and rename it; missing folders are made.

    Raises:
        RunError: The file can not be written.
    """
    with disk_errors(out.parent):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunError(f"{out.parent} is a file, not a folder; choose another file to write") from error
    with write_aside(out, "w") as file:
        file.write(render(page))
    return out


def make_page(
    runs: Sequence[AnyRun],
    *,
    evaluator: Evaluator | Mapping[str, Evaluator] | None = None,
    space: SearchSpace | None = None,
    notes: Sequence[str] = (),
) -> Page:
    """What the page says, before it is HTML.

    Args:
        runs: What :func:`read_all` read.
        evaluator: As of :func:`build`.
        space: As of :func:`build`.
        notes: Sentences that stand on top of the page.
    """
    searches = [run for run in runs if isinstance(run, Run)]
    supernets = [run for run in runs if isinstance(run, SupernetRun)]
    trainings = [run for run in runs if isinstance(run, TrainingRun)]
    known = _by_bench(searches, evaluator)
    studies = group(searches, known)
    pages = []
    for number, study in enumerate(studies, start=1):
        own = known.get(study.bench)
        drawn = own.space if own is not None else space or _built_in_space(study)
        pages.append(study_page(study, f"study-{number}", own, drawn))
    return Page(
        title(studies, supernets, trainings),
        tuple(notes),
        tuple(pages),
        footer(),
        supernet_pages(supernets),
        training_pages(trainings),
    )


def read_all(dirs: Sequence[Path]) -> tuple[AnyRun, ...]:
    """The runs of all directories; a directory given twice counts once.

    Raises:
        UserError: No directory.
        RunError: A directory is no run directory, or a file in it is damaged.
    """
    if not dirs:
        raise UserError(f"no directory; {WANTED}")
    once = {path.resolve(): path for path in reversed(dirs)}
    return tuple(run for path in reversed(once.values()) for run in _read(path))


def _read(path: Path) -> tuple[AnyRun, ...]:
    if is_training_directory(path):
        return (read_training(path),)
    return (read_supernet(path),) if is_supernet_directory(path) else read_directory(path)


def _built_in_space(study: Study) -> SearchSpace | None:
    """The space that the settings of a study name, if it comes with the package."""
    name = study.runs[0].config.get("space")
    return get_space(name) if isinstance(name, str) and name in BUILT_IN else None


def _by_bench(
    runs: Sequence[Run], evaluator: Evaluator | Mapping[str, Evaluator] | None
) -> Mapping[str, Evaluator]:
    if evaluator is None:
        return {}
    if isinstance(evaluator, Mapping):
        return evaluator
    benches = {run.bench for run in runs}
    return dict.fromkeys(benches, evaluator) if len(benches) == 1 else {evaluator.name: evaluator}
