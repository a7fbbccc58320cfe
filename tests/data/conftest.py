"""The data part uses no Keras, so its tests need no fresh Keras session (0.3 s each)."""

import pytest


@pytest.fixture(autouse=True)
def fresh_keras():
    """Stands in for the fixture of the same name above."""
