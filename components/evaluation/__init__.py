"""Components that measure and compare models."""
