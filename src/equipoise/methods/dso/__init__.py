"""DSO: settings, the trainer on closed answers, and the sampled trainer for free text and any reward."""

from ..progress import Progress, Report
from .fit import fit
from .sampled import fit_sampled
from .sampled_settings import SampledSettings
from .settings import DsoSettings

__all__ = ["DsoSettings", "Progress", "Report", "SampledSettings", "fit", "fit_sampled"]

RESUMES = True
"""A fit can be resumed from its checkpoint."""
