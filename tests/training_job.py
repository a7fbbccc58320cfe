"""A training that several tests interrupt or distribute, and how its results are compared."""

import json

import keras
import numpy as np

from gb_keras.stages.prepare import prepare

OPTIONS = {"epochs": 3, "batch_size": 32, "seed": 3, "verbose": 2}
STEPS_PER_EPOCH = 11


def make(folder):
    """Data, and the options of a run of a model without batch normalization."""
    manifest = prepare("digits", folder / "data", long_tail_factor=50)
    # The last batch is neither full nor even.
    num_examples = manifest["splits"]["train"]["num_examples"]
    assert num_examples % 32 % 2 == 1
    assert -(-num_examples // 32) == STEPS_PER_EPOCH
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Rescaling(0.01)]
    own = keras.Sequential([*layers, keras.layers.Dense(16, "relu"), keras.layers.Dense(10)])
    own.save(folder / "own.keras")
    return {**OPTIONS, "backbone": str(folder / "own.keras")}


def assert_same_run(folder, other, rtol=1e-3, atol=1e-4):
    for name in ("history.json", "config.json"):
        assert (folder / name).exists()
    histories = [json.loads((each / "history.json").read_text()) for each in (folder, other)]
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[1].items():
        assert len(values) == OPTIONS["epochs"]
        np.testing.assert_allclose(histories[0][name], values, rtol=rtol, err_msg=name)
    one, two = (keras.models.load_model(each / "model.keras") for each in (folder, other))
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=a.path)
