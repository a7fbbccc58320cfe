"""Export a trained model for a server: a run folder in, a SavedModel out that needs no gb_keras."""

import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from gb_keras.stages import files, trained_model

# TensorFlow Serving serves the highest number that it finds in a folder.
VERSION = "1"


def export(run_dir: str | os.PathLike, output_dir: str | os.PathLike) -> dict[str, Any]:
    """Write the model of a run as a SavedModel, in the layout of TensorFlow Serving and KServe.

    `output_dir` holds the folder `1` with the model. Its signature `serving_default` takes
    `images`, float32 `(batch_size, height, width, channels)` with values 0..255, and gives `logits`
    and `probabilities`, float32 `(batch_size, num_classes)`: a softmax over the classes, of
    multi-label data a sigmoid of each. The names of the classes are in
    `1/assets.extra/classes.json`, a list in the order of the outputs.

    Args:
        run_dir: Folder that `train` wrote.
        output_dir: New folder for the result. It appears whole or not at all.

    Returns:
        `{"saved_model": folder of the model, "input_shape": [height, width, channels],
        "num_classes": number of classes}`; a side that may vary is None.

    Raises:
        FileNotFoundError: `run_dir` holds no finished run.
        FileExistsError: `output_dir` already holds something.
    """
    files.require_empty(output_dir)
    run_dir = Path(run_dir)
    if not (run_dir / "model.keras").is_file() or not (run_dir / "config.json").is_file():
        raise FileNotFoundError(
            f"Expected the folder of a finished training run. Received: {str(run_dir)!r}, which "
            "lacks model.keras or config.json. Train to the end first (an interrupted run goes on "
            "with resume=True, --resume)."
        )
    config = files.read_json(run_dir / "config.json")
    model = trained_model.load(run_dir)
    to_probabilities = tf.sigmoid if config.get("multi_label") else tf.nn.softmax

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(model(images, training=False), tf.float32)
        return {"logits": logits, "probabilities": to_probabilities(logits)}

    shape = model.input_shape
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, [tf.TensorSpec(shape, tf.float32, name="images")])
    with files.new_directory(output_dir) as folder:
        archive.write_out(folder / VERSION, verbose=False)
        files.write_json(folder / VERSION / "assets.extra" / "classes.json", config["classes"])
    return {
        "saved_model": str(Path(output_dir) / VERSION),
        "input_shape": list(shape[1:]),
        "num_classes": len(config["classes"]),
    }
