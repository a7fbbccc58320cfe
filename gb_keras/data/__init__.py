"""Data sets by name, long-tail and noisy views of them, and the input pipeline."""
