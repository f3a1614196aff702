"""Which method was better, said only as far as the seeds allow to say so."""

from __future__ import annotations

from collections.abc import Sequence

from crlso.report.statistics import Spread
from crlso.report.studies import Series, Study, differences, summarise
from crlso.report.text import count, listing, number

EXPLANATION = (
    "In brackets: the 95 % Student t interval of the difference to the leading method, paired by seed. "
    "A method is called better only where that interval excludes zero; the intervals are not corrected for "
    "several comparisons."
)


def verdicts(study: Study) -> tuple[str, ...]:
    """One sentence or two per checkpoint; none where there is one method only."""
    return tuple(said for place in study.checkpoints if (said := verdict(study, place)))


def verdict(study: Study, evaluations: int) -> str:
    """Which method stands best after so many evaluations, and against whom that is more than chance."""
    ranked, single = _ranked(study, evaluations)
    if len(ranked) < 2:
        return ""
    first, about = ranked[0]
    equal, clear, unclear, unknown = [first.label], [], [], []
    for series, _ in ranked[1:]:
        difference = differences(study, series, first, evaluations)
        if difference is None:
            unknown.append(series.label)
        elif difference.low == difference.high == 0.0:
            equal.append(series.label)
        elif difference.low * difference.high > 0.0:
            clear.append(_bracketed(study, series.label, difference))
        else:
            unclear.append(_bracketed(study, series.label, difference))
    quantity = "mean best value" if study.quantity == "best value so far" else f"mean {study.quantity}"
    value = study.with_score_unit(number(float(about.mean), study.score_decimals))
    head = f"After {count(evaluations, 'evaluation')}"
    if len(equal) == len(ranked):
        return f"{head}, all methods have the same {quantity} ({value}), seed by seed."
    best = "lowest" if study.smaller_is_better else "highest"
    verb = "have" if len(equal) > 1 else "has"
    lead = f"{head}, {listing(equal)} {verb} the {best} {quantity} ({value})."
    return " ".join(
        [lead, *_claims("They are" if len(equal) > 1 else "It is", clear, unclear, unknown, single)]
    )


def _claims(
    subject: str, clear: Sequence[str], unclear: Sequence[str], unknown: Sequence[str], single: Sequence[str]
) -> list[str]:
    claims = []
    if clear and unclear:
        claims.append(
            f"{subject} better than {listing(clear)}, but not clearly better than {listing(unclear)}."
        )
    elif clear:
        claims.append(f"{subject} better than {listing(clear)}.")
    elif unclear:
        claims.append(f"{subject} not clearly better than {listing(unclear)}.")
    if single:
        claims.append(f"Left out, with one seed only: {listing(single)}.")
    if unknown:
        claims.append(f"Fewer than two seeds in common: nothing can be said against {listing(unknown)}.")
    return claims


def _bracketed(study: Study, label: str, difference: Spread) -> str:
    low, high = (number(float(end), study.score_decimals) for end in (difference.low, difference.high))
    return f"{label} ({low} to {high})"


def _ranked(study: Study, evaluations: int) -> tuple[list[tuple[Series, Spread]], list[str]]:
    """Series that have come so far, the best mean first; and the names of those that one seed disqualifies.

    A single seed can not lead methods that have several; where none has several, all are ranked.
    """
    entries = [(series, summarise(series, evaluations)) for series in study.series]
    known = [entry for entry in entries if entry[1].n > 0]
    sign = 1.0 if study.smaller_is_better else -1.0
    known.sort(key=lambda entry: sign * float(entry[1].mean))
    several = [entry for entry in known if entry[1].n > 1]
    if len(several) < 2:
        return known, []
    return several, [series.label for series, about in known if about.n == 1]
