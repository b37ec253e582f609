"""The demo's vision-language model: trained on emoji people with a bias that is planted, and shown with it."""

from .demo import PLANTED, demo_vlm
from .settings import TrainSettings
from .training import other_styles, train

__all__ = ["PLANTED", "TrainSettings", "demo_vlm", "other_styles", "train"]
