"""Explorers: a state to play with, shown live on a canvas or as a static picture.

A state makes a scene; `picture` draws it with matplotlib, and the widget on a canvas in a notebook.
"""

from __future__ import annotations

from ebm.show.explorers.controls import Button, Choice, Control, Slider, Toggle
from ebm.show.explorers.ellipse import EllipseExplorer
from ebm.show.explorers.embedding import EmbeddingExplorer
from ebm.show.explorers.landscape import Landscape
from ebm.show.explorers.picture import picture
from ebm.show.explorers.planner import PlannerExplorer
from ebm.show.explorers.samplers import SamplersExplorer
from ebm.show.explorers.scene import Bars, Dots, Gray, Handle, Heat, Line, Panel, Scene, array
from ebm.show.explorers.sparse_code import SparseCodeExplorer
from ebm.show.explorers.state import State
from ebm.show.explorers.subjects import Subject, gallery
from ebm.show.explorers.training import TrainingExplorer
from ebm.show.explorers.widget import Explorer, explore

__all__ = [
    "Bars",
    "Button",
    "Choice",
    "Control",
    "Dots",
    "EllipseExplorer",
    "EmbeddingExplorer",
    "Explorer",
    "Gray",
    "Handle",
    "Heat",
    "Landscape",
    "Line",
    "Panel",
    "PlannerExplorer",
    "SamplersExplorer",
    "Scene",
    "Slider",
    "SparseCodeExplorer",
    "State",
    "Subject",
    "Toggle",
    "TrainingExplorer",
    "array",
    "explore",
    "gallery",
    "picture",
]
