"""The set of architectures that one shrinking search gives, and what is done with it."""

from crlso.runs.pareto import Member
from supernet.pareto.alike import Alike, random_alike
from supernet.pareto.domination import marked, non_dominated
from supernet.pareto.files import GENOTYPES, PARETO, read_set, write_set

__all__ = [
    "GENOTYPES",
    "PARETO",
    "Alike",
    "Member",
    "marked",
    "non_dominated",
    "random_alike",
    "read_set",
    "write_set",
]
