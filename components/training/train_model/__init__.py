"""Train a classifier on a prepared data set."""

from .component import train_model

__all__ = ["train_model"]
