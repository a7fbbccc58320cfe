"""Prepare data, train with several losses, evaluate each model, compare them."""

from .pipeline import make_pipeline, train_and_evaluate
from .settings import Settings

__all__ = ["Settings", "make_pipeline", "train_and_evaluate"]
