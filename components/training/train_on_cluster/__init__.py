"""Train a classifier on several nodes."""

from .component import train_on_cluster

__all__ = ["train_on_cluster"]
