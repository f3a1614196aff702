"""The set of architectures that one shrinking search gives, and what is done with it."""

from crlso.runs.pareto import Member
from supernet.pareto.domination import marked, non_dominated
from supernet.pareto.files import GENOTYPES, PARETO, read_set, write_set

__all__ = ["GENOTYPES", "PARETO", "Member", "marked", "non_dominated", "read_set", "write_set"]
