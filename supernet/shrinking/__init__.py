"""Shrinking: operators of a supernet are removed one after the other, at a rate that is controlled."""

from supernet.shrinking.controllers import Controller, ESSController, Pace, SNPSController
from supernet.shrinking.shrinker import Shrinker

__all__ = ["Controller", "ESSController", "Pace", "SNPSController", "Shrinker"]
