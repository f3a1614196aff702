"""What people look at: one self-contained HTML file made from run directories."""

from crlso.report.build import build
from crlso.report.drawing import draw_svg

__all__ = ["build", "draw_svg"]
