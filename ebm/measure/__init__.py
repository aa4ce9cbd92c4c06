"""Measuring: whether codes collapsed, whether chains converged, where the energy is low besides the data."""

from __future__ import annotations

from ebm.measure.alignment import alignment, uniformity
from ebm.measure.alpha_req import PowerLaw, alpha_req
from ebm.measure.auroc import AUROC, auroc, auroc_report
from ebm.measure.calibration import Calibration, calibration
from ebm.measure.codes import CodeReport, CollapseWarning, code_report
from ebm.measure.dhsic import dhsic, hsic, pairwise_hsic
from ebm.measure.ess import ess
from ebm.measure.gabor import GaborFit, gabor_fit
from ebm.measure.knn_probe import knn_probe
from ebm.measure.lidar import lidar
from ebm.measure.linear_probe import linear_probe
from ebm.measure.model_report import ModelReport, model_report
from ebm.measure.probe import ProbeResult
from ebm.measure.rankme import rankme
from ebm.measure.rhat import rhat
from ebm.measure.trace import EnergyTrace, energies_of, energy_trace
from ebm.measure.watch import CollapseError, WatchCodes, WatchProbe

__all__ = [
    "AUROC",
    "Calibration",
    "CodeReport",
    "CollapseError",
    "CollapseWarning",
    "EnergyTrace",
    "GaborFit",
    "ModelReport",
    "PowerLaw",
    "ProbeResult",
    "WatchCodes",
    "WatchProbe",
    "alignment",
    "alpha_req",
    "auroc",
    "auroc_report",
    "calibration",
    "code_report",
    "dhsic",
    "energies_of",
    "energy_trace",
    "ess",
    "gabor_fit",
    "hsic",
    "knn_probe",
    "lidar",
    "linear_probe",
    "model_report",
    "pairwise_hsic",
    "rankme",
    "rhat",
    "uniformity",
]
