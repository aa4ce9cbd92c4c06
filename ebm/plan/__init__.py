"""Planning: actions that make an imagined trajectory cheap, found by minimizing its energy."""

from __future__ import annotations

from ebm.plan.collocation import GRASP, VirtualStates
from ebm.plan.costs import ActionPenalty, Barrier, GoalDistance, LearnedCost, Smoothness, StageCost
from ebm.plan.disagreement import Disagreement
from ebm.plan.episode import Episodes, run_episodes
from ebm.plan.guardrails import Brake, Fallback, Guardrail, KeepOut
from ebm.plan.plan import Plan
from ebm.plan.primitives import PrimitivePlan, headings
from ebm.plan.receding_horizon import RecedingHorizon
from ebm.plan.report import Report
from ebm.plan.risk import CVaR
from ebm.plan.surprises import Surprises, no_surprise
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.plan.two_rooms_agent import code_scale, two_rooms_agent

__all__ = [
    "GRASP",
    "ActionPenalty",
    "Barrier",
    "Brake",
    "CVaR",
    "Disagreement",
    "Episodes",
    "Fallback",
    "GoalDistance",
    "Guardrail",
    "KeepOut",
    "LearnedCost",
    "Plan",
    "PrimitivePlan",
    "RecedingHorizon",
    "Report",
    "Smoothness",
    "StageCost",
    "Surprises",
    "TrajectoryEnergy",
    "VirtualStates",
    "code_scale",
    "headings",
    "no_surprise",
    "run_episodes",
    "two_rooms_agent",
]
