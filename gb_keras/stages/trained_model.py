"""The model of a finished run, loaded in any process."""

import os
from pathlib import Path

import keras

# Keras finds the classes of a saved model only once they are imported, which the command
# `gb-keras` leaves to those who need them.
from gb_keras import normalized_dense as normalized_dense
from gb_keras import training as training


def load(run_dir: str | os.PathLike) -> keras.Model:
    """Load the model that `train` left, for predictions alone.

    Args:
        run_dir: Folder of a finished run.

    Returns:
        The model, not compiled.
    """
    return keras.saving.load_model(Path(run_dir) / "model.keras", compile=False)
