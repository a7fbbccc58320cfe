import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from gb_keras.normalized_dense import NormalizedDense
from gb_keras.stages import files
from gb_keras.stages.export import export
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train

# Run where there is no gb_keras, as in a server of models.
SERVER = """
    import json, sys
    import numpy as np
    sys.modules["gb_keras"] = None  # Importing it is an error now.
    import tensorflow as tf
    model = tf.saved_model.load(sys.argv[1])
    signature = model.signatures["serving_default"]
    images = tf.constant(np.load(sys.argv[2]))
    answers = {name: value.numpy().tolist() for name, value in signature(images=images).items()}
    _, inputs = signature.structured_input_signature
    print(json.dumps({"answers": answers, "inputs": {k: str(v) for k, v in inputs.items()}}))
"""


def serve(saved_model, images, folder):
    np.save(folder / "images.npy", images)
    (folder / "server.py").write_text(inspect.cleandoc(SERVER))
    result = subprocess.run(
        # Isolated: neither this folder nor the environment can bring gb_keras in.
        [sys.executable, "-I", "server.py", saved_model, "images.npy"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    prepare("digits", folder / "digits", long_tail_factor=10)
    train(folder / "digits", folder / "run", epochs=2, verbose=0)
    return folder / "run"


def test_a_server_without_gb_keras_answers_as_the_model_does(run, tmp_path):
    result = export(run, tmp_path / "serving")
    assert [path.name for path in (tmp_path / "serving").iterdir()] == ["1"]
    model = keras.models.load_model(run / "model.keras")
    height, width, channels = result["input_shape"]
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (5, height, width, channels)).astype(np.float32)
    served = serve(result["saved_model"], images, tmp_path)
    logits = model.predict(images, verbose=0)
    np.testing.assert_allclose(served["answers"]["logits"], logits, rtol=1e-4, atol=1e-4)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        served["answers"]["probabilities"],
        exponentials / exponentials.sum(axis=1, keepdims=True),
        atol=1e-4,
    )
    # Any number of images at once.
    assert served["inputs"]["images"].startswith(f"TensorSpec(shape=(None, {height}, {width}")


def test_classes_are_named_in_the_order_of_the_outputs(run, tmp_path):
    result = export(run, tmp_path / "serving")
    classes = files.read_json(tmp_path / "serving" / "1" / "assets.extra" / "classes.json")
    assert classes == files.read_json(run / "config.json")["classes"]
    assert result["num_classes"] == len(classes) == 10


def test_the_command_finds_the_classes_of_the_model_by_itself(run, tmp_path):
    # The process of the command imports of gb_keras only what is asked for.
    normalized = tmp_path / "normalized"
    normalized.mkdir()
    inputs = keras.Input((4,))
    keras.Model(inputs, NormalizedDense(2, scale=30.0)(inputs)).save(normalized / "model.keras")
    files.write_json(normalized / "config.json", {"classes": ["a", "b"]})
    program = f"""
        import sys
        sys.argv = ["gb-keras"]
        from gb_keras.stages.export import export
        assert "gb_keras.baselines" not in sys.modules
        for run in ({str(run)!r}, {str(normalized)!r}):
            export(run, run + "-serving")
        from gb_keras.stages.evaluate import evaluate
        evaluate({str(run)!r}, {str(run.parent / "digits")!r}, {str(tmp_path / "evaluation")!r})
    """
    result = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(program)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "normalized-serving" / "1" / "saved_model.pb").is_file()


def test_outputs_of_multi_label_models_are_probabilities_of_their_own(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(run / "model.keras")
    files.write_json(run / "config.json", {"classes": ["a", "b", "c"], "multi_label": True})
    result = export(run, tmp_path / "serving")
    served = serve(result["saved_model"], np.ones((2, 4, 4, 1), np.float32), tmp_path)
    expected = 1 / (1 + np.exp(-np.array(served["answers"]["logits"])))
    np.testing.assert_allclose(served["answers"]["probabilities"], expected, atol=1e-5)


def test_only_a_finished_run_is_exported_and_nothing_is_left_behind(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks model\.keras or config\.json"):
        export(tmp_path / "none", tmp_path / "serving")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.keras").write_text("no model")
    files.write_json(broken / "config.json", {"classes": []})
    with pytest.raises(ValueError, match=r"model\.keras"):
        export(broken, tmp_path / "serving")
    unnamed = tmp_path / "unnamed"
    unnamed.mkdir()
    (unnamed / "model.keras").write_bytes((run / "model.keras").read_bytes())
    files.write_json(unnamed / "config.json", {})
    with pytest.raises(KeyError):
        export(unnamed, tmp_path / "serving")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "unnamed"]


def test_an_earlier_export_is_never_overwritten(run, tmp_path):
    export(run, tmp_path / "serving")
    before = sorted((tmp_path / "serving").rglob("*"))
    with pytest.raises(FileExistsError):
        export(run, tmp_path / "serving")
    assert sorted((tmp_path / "serving").rglob("*")) == before
