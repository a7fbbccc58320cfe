"""Compare evaluations of models on the same data."""

from .component import compare_models

__all__ = ["compare_models"]
