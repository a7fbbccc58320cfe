"""The jobs of a training run as plain functions: files in, files out."""
