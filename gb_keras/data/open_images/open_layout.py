"""Open Images wherever it lies: which of its layouts a folder has."""

from gb_keras.data.locations import Location
from gb_keras.data.open_images.download import Download
from gb_keras.data.open_images.layout import Layout


def open_layout(folder: Location, kind: str) -> Layout:
    """Open a folder.

    Args:
        folder: As the official files are downloaded to, see `Download`, or as TFDS prepares
            `open_images_v4`, see `TfdsLayout`.
        kind: `"boxes"` or `"labels"`, whichever will be read.

    Raises:
        FileNotFoundError: There is no such folder, or a file is not in it.
        ValueError: A file cannot be read, or the folder holds another data set.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of an Open Images download. Received: {str(folder)!r}, which is "
            f"{'a file' if folder.exists() else 'not there'}."
        )
    if (folder / "features.json").is_file():
        # Only this one needs TensorFlow.
        from gb_keras.data.open_images.tfds_layout import TfdsLayout

        return TfdsLayout(folder, kind)
    return Download(folder, kind)
