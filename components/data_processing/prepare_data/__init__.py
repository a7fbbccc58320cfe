"""Prepare a data set: split, and where asked for long-tailed and noisy."""

from .component import prepare_data

__all__ = ["prepare_data"]
