"""Kubeflow Pipelines components, by category."""
