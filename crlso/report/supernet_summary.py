"""The summary on top of a supernet run: facts, what the search was worth, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crlso.protocols import FloatArray
from crlso.report.statistics import Spread, paired, spread
from crlso.report.summary import Fact
from crlso.report.supernet_reading import SupernetRun, SupernetSearch
from crlso.report.text import count, listing, number, whole_numbers, with_unit

SENTENCE_METRICS = 3
"""So many metrics of a table of real trainings stand in a sentence; all of them in a table below."""
EXPLANATION = (
    "Means and standard deviations are over searches, not over trainings. In brackets: the 95 % Student t "
    "interval of the difference, paired by search; better and worse are said only where it excludes zero."
)
_RESUME = "Run the same command again to finish it."


def title(run: SupernetRun) -> str:
    """Heading of the section: method, space, data."""
    return f"{run.recipe} in {run.space.name} on {run.data}"


def facts(run: SupernetRun) -> tuple[Fact, ...]:
    """The numbers people look for first."""
    out = []
    derived, random_mean, random_best = outcomes(run)
    if np.isfinite(derived).any():
        out.append(
            Fact(
                "Derived networks" if len(derived) > 1 else "Derived network", mean_text(derived), run.metric
            )
        )
    if np.isfinite(random_mean).any():
        out.append(Fact("Random networks, mean", mean_text(random_mean), "trained alike"))
        out.append(Fact("Random search", mean_text(random_best), "the best of them by validation"))
    out.append(Fact("Searches", str(len(run.searches)), f"{_seeds(run)}, {count(run.epochs, 'epoch')} each"))
    seconds = cpu_seconds(run)
    if np.isfinite(seconds).any():
        out.append(Fact("CPU seconds per search", number(float(spread(seconds).mean), 1)))
    return tuple(out)


def summary(run: SupernetRun) -> tuple[str, ...]:
    """What was searched, how, and what it cost."""
    method = "; ".join(part for part in (run.recipe_summary, run.recipe_source) if part)
    searched = (
        f"{run.recipe} searched the space {run.space.name} with shared weights on {run.data}: "
        f"{count(len(run.searches), 'search', 'searches')} ({_seeds(run)}) of {count(run.epochs, 'epoch')}."
    )
    out = [searched]
    if method:
        out.append(f"The method: {method.rstrip('.')}.")
    if run.data_text:
        out.append(f"Images: {run.data_text.rstrip('.')}. Networks: {run.network.rstrip('.')}.")
    return (*out, *_cost(run), *_table(run))


def verdicts(run: SupernetRun) -> tuple[str, ...]:
    """Whether the derived networks beat random ones, said only as far as the searches allow."""
    derived, random_mean, random_best = outcomes(run)
    if any(search.result is not None and search.result.pairs for search in run.searches):
        return set_verdicts(run)
    if not np.isfinite(derived).any():
        return ()
    several = int(np.isfinite(derived).sum()) > 1
    subject = "The derived networks have" if several else "The derived network has"
    out = [f"{subject} a {'mean ' if several else ''}test accuracy of {mean_text(derived)} ({run.metric})."]
    drawn = sorted(
        {search.result.random.n for search in run.searches if search.result and search.result.random}
    )
    if np.isfinite(random_mean).any():
        trained = f"{_numbers(drawn)} random networks trained alike"
        out.append(_against(derived, random_mean, f"the mean of {trained}"))
        baseline = f"a random search, which keeps the best of {_numbers(drawn)} by validation accuracy"
        out.append(_against(derived, random_best, baseline))
        costs = np.array([search.result.random_cost for search in run.searches if search.result])
        if np.isfinite(costs).any():
            share = number(float(spread(costs).mean), 2)
            out.append(f"Training the random networks costs {share} times what a search costs, by formula.")
        if not several:
            out.append("There is one search only: how much of this is chance can not be said.")
    else:
        out.append(
            "No random networks were trained beside, so nothing can be said of what the search is worth."
        )
    return tuple(out)


def set_verdicts(run: SupernetRun) -> tuple[str, ...]:
    """Whether members of the sets beat random architectures of as many weights."""
    kept = [float(sum(member.non_dominated for member in search.members)) for search in run.searches]
    several = len(kept) > 1
    out = [
        f"{'The sets have' if several else 'The set has'} {mean_text(np.array(kept), 1, '')} non-dominated"
        f" members{' on average' if several else ''}."
    ]
    sizes = dict.fromkeys(pair.size for s in run.searches if s.result is not None for pair in s.result.pairs)
    for size in sizes:
        found = [
            next((pair for pair in (s.result.pairs if s.result else ()) if pair.size == size), None)
            for s in run.searches
        ]
        own = np.array([np.nan if pair is None else pair.test_accuracy for pair in found])
        random = np.array([np.nan if pair is None else pair.random_test_accuracy for pair in found])
        params = np.array([np.nan if pair is None else pair.params for pair in found])
        out.append(
            f"The {size} one{'s have' if several else ' has'} {mean_text(params, 3, 'M')} weights and a test"
            f" accuracy of {mean_text(own)} ({run.metric})."
        )
        out.append(_against(own, random, "random networks of as many weights, trained alike"))
    return tuple(out)


def notes(run: SupernetRun) -> tuple[str, ...]:
    """What is missing, unfinished, or collapsed."""
    out = []
    if not run.finished:
        done = (
            f" {count(run.trainings, 'training')} from scratch {'is' if run.trainings == 1 else 'are'} done."
        )
        out.append(
            "The run is unfinished: it has no summary.json, and what is here is shown as far as it is."
            f"{done if run.trainings else ''} {_RESUME}"
        )
    for search in run.searches:
        out += _search_notes(run, search)
    trained = [search for search in run.searches if search.result is not None]
    if trained and not any(s.result and (s.result.trained or s.result.pairs) for s in trained):
        out.append("The derived networks were not trained, so their accuracy is not known.")
    return tuple(out)


def outcomes(run: SupernetRun) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``[searches]`` each, NaN where unknown, in %.

    Returns:
        Test accuracy of the derived network, mean of random ones, and that of the random search.
    """
    results = [search.result for search in run.searches]
    randoms = [None if result is None else result.random for result in results]
    return (
        np.array([np.nan if result is None else result.test_accuracy for result in results]),
        np.array([np.nan if random is None else random.mean for random in randoms]),
        np.array([np.nan if random is None else random.best for random in randoms]),
    )


def cpu_seconds(run: SupernetRun) -> FloatArray:
    """``[searches]`` CPU seconds of the search so far; NaN where it has not begun."""
    return np.array(
        [
            sum(epoch.cpu_seconds for epoch in search.epochs) if search.epochs else np.nan
            for search in run.searches
        ],
        dtype=np.float64,
    )


def deviation(about: Spread) -> float:
    """Standard deviation over searches (``n - 1``); NaN for one."""
    return float(about.sem * np.sqrt(about.n))


def mean_text(values: FloatArray, decimals: int = 2, unit: str = "%") -> str:
    """``91.20 ± 0.31 %``: mean and standard deviation over searches; the value alone where there is one."""
    about = spread(values)
    text = number(float(about.mean), decimals)
    if about.n > 1:
        text += f" ± {number(deviation(about), decimals)}"
    return with_unit(text, unit)


def headline_metrics(run: SupernetRun) -> tuple[str, ...]:
    """Metrics of the table of real trainings; those of single seeds only where there are no others."""
    results = [search.result for search in run.searches if search.result is not None]
    names = list(dict.fromkeys(name for result in results for name in result.table_values))
    means = [name for name in names if "/seed" not in name]
    return tuple(means or names)


def table_values(run: SupernetRun, metric: str) -> FloatArray:
    """``[searches]`` what the table of real trainings says of the derived cells; NaN where unknown."""
    found = []
    for search in run.searches:
        entry = search.result.table_values.get(metric) if search.result is not None else None
        found.append(np.nan if entry is None else entry.value)
    return np.array(found, dtype=np.float64)


def table_best(run: SupernetRun, metric: str) -> float | None:
    """The best value that the table holds; None where unknown."""
    for search in run.searches:
        if search.result is not None and metric in search.result.table_values:
            return search.result.table_values[metric].best
    return None


def kind_name(kind: str) -> str:
    """``normal cell``; ``cell`` where there is one kind only, which is called so."""
    return kind if kind.endswith("cell") else f"{kind} cell"


def _against(derived: FloatArray, others: FloatArray, name: str) -> str:
    """Whether the derived networks beat a baseline that each search has of its own."""
    mean = mean_text(others)
    about = paired(derived, others)
    difference = float(about.mean)
    they = "They are" if np.isfinite(derived).sum() > 1 else "It is"
    if about.n == 0:
        return f"Nothing can be said against {name} ({mean})."
    if about.n == 1:
        if difference > 0.0:
            return f"{they} {number(difference, 2)} points better than {name} ({mean})."
        word = "equal" if difference == 0.0 else f"{number(-difference, 2)} points worse"
        return f"{they} not better than {name} ({mean}): {they.lower()} {word}."
    low, high = float(about.low), float(about.high)
    brackets = f"({mean}; difference {number(difference, 2)} points [{number(low, 2)} to {number(high, 2)}])"
    if low > 0.0:
        return f"{they} better than {name} {brackets}."
    if high < 0.0:
        return f"{they} worse than {name} {brackets}."
    return f"{they} not {'clearly ' if difference > 0.0 else ''}better than {name} {brackets}."


def _cost(run: SupernetRun) -> list[str]:
    epochs = [epoch for search in run.searches for epoch in search.epochs]
    if not epochs:
        return []
    own = cpu_seconds(run)
    if not all(search.derived for search in run.searches):
        return [f"So far the search has cost {number(float(np.nansum(own)), 1)} CPU seconds."]
    several = int(np.isfinite(own).sum()) > 1
    per_epoch = spread(np.array([epoch.cpu_seconds for epoch in epochs]))
    return [
        f"{'A' if several else 'The'} search cost {number(float(spread(own).mean), 1)} CPU seconds"
        f"{' on average' if several else ''}, {number(float(per_epoch.mean), 2)} an epoch."
    ]


def _table(run: SupernetRun) -> list[str]:
    """Real trainings of the derived cells, where there is a table of them."""
    name = next((s.result.table for s in run.searches if s.result is not None and s.result.table), "")
    metrics = headline_metrics(run)[:SENTENCE_METRICS]
    if not name or not metrics:
        return []
    said = []
    for metric in metrics:
        best = with_unit(number(table_best(run, metric), 2), "%")
        said.append(f"{metric} {mean_text(table_values(run, metric))} (best of the table {best})")
    cells = "cells have" if len(run.searches) > 1 else "cell has"
    return [f"Looked up in the real trainings of {name}, the derived {cells} {listing(said)}."]


def _search_notes(run: SupernetRun, search: SupernetSearch) -> list[str]:
    seed = f"Seed {search.seed}"
    out = []
    done = len(search.epochs)
    if not search.epochs and search.result is None:
        return [f"{seed} has not come to the end of its first epoch."]
    if not search.derived:
        out.append(f"{seed} is unfinished ({done} of {count(run.epochs, 'epoch')}).")
    elif 0 < done < run.epochs:
        out.append(f"{seed} stopped early, after {done} of {count(run.epochs, 'epoch')}.")
    out += [f"{seed}, warning: {warning}." for warning in _collapse(run, search)]
    if search.result is not None and search.result.trained and np.isnan(search.result.test_accuracy):
        out.append(f"{seed}: the training of the derived network diverged; it counts in no mean.")
    return out


def _collapse(run: SupernetRun, search: SupernetSearch) -> tuple[str, ...]:
    """Signs of a collapse at the end: what the search itself said; else by its skip connections."""
    if not search.epochs:
        return ()
    last = search.epochs[-1]
    if last.warnings or run.per_node or last.skips[0] <= run.skip_limit:
        return last.warnings
    skips = count(last.skips[0], "skip connection")
    return (f"{skips} in the {kind_name(run.kinds[0])}, more than {run.skip_limit}: it looks collapsed",)


def _seeds(run: SupernetRun) -> str:
    seeds = [search.seed for search in run.searches]
    return f"seed{'s' if len(seeds) > 1 else ''} {whole_numbers(seeds)}"


def _numbers(values: Sequence[int]) -> str:
    """``5``; ``5 to 9`` where searches had different numbers."""
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
