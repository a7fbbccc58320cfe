"""Small TFDS directories, as TFDS itself writes them."""

import shutil
from pathlib import Path

import tensorflow_datasets as tfds

from gb_keras.data.tfds_directory import no_protobuf_warnings


def write_directory(directory, splits, features, description):
    """Of `(key, example)` pairs by split."""
    root = Path(directory) / "build"
    with no_protobuf_warnings():
        builder = tfds.dataset_builders.store_as_tfds_dataset(
            name="small",
            version="1.0.0",
            features=features,
            split_datasets=splits,
            data_dir=root,
            description=description,
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    for path in Path(builder.data_dir).iterdir():
        path.rename(Path(directory) / path.name)
    shutil.rmtree(root)
