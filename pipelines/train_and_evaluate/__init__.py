"""Prepare data, train with several losses, evaluate each model, compare them."""

from .pipeline import Settings, make_pipeline, train_and_evaluate

__all__ = ["Settings", "make_pipeline", "train_and_evaluate"]
