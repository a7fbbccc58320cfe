"""Mosaics: images that hold several classes at once, for multi-label training."""

import numpy as np

# Images in a row and in a column.
SIDE = 2


def mosaics(
    images: np.ndarray,
    labels: np.ndarray,
    number: int,
    class_shares: np.ndarray,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Grids of 2 x 2 cells, of which 1 to 4 hold an image and the others nothing.

    Each number of images is as likely as another. The class of each image
    is drawn by itself, so that a class may be there twice.

    Args:
        images: What to choose from, uint8, `(num_images, height, width, channels)`.
        labels: Their classes, each there once at least, int64, `(num_images,)`.
        number: How many mosaics.
        class_shares: Share of each class in the images drawn, sum 1, `(num_classes,)`.
        generator: Source of the draw.

    Returns:
        The mosaics, uint8, `(number, 2 * height, 2 * width, channels)`, and whether each class is
        in them, float32 0 or 1, `(number, num_classes)`.

    Example:
        >>> images = np.array([7, 9], "uint8").reshape(2, 1, 1, 1)
        >>> shares, generator = np.array([0.5, 0.5]), np.random.default_rng(0)
        >>> drawn, present = mosaics(images, np.array([0, 1]), 3, shares, generator)
        >>> drawn[..., 0].tolist()
        [[[9, 9], [9, 9]], [[9, 0], [9, 7]], [[0, 7], [9, 9]]]
        >>> present.tolist()
        [[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    num_cells, num_classes = SIDE**2, len(class_shares)
    num_filled = generator.integers(1, num_cells + 1, size=(number, 1))
    place = generator.permuted(np.tile(np.arange(num_cells), (number, 1)), axis=1)
    filled = place < num_filled
    classes = generator.choice(num_classes, size=(number, num_cells), p=class_shares)
    chosen = np.empty_like(classes)
    for index in range(num_classes):
        of_class = classes == index
        chosen[of_class] = generator.choice(np.flatnonzero(labels == index), of_class.sum())
    present = np.zeros((number, num_classes), "float32")
    mosaic, cell = np.nonzero(filled)
    present[mosaic, classes[mosaic, cell]] = 1
    cells = np.where(filled[..., np.newaxis, np.newaxis, np.newaxis], images[chosen], 0)
    height, width, channels = images.shape[1:]
    grid = cells.reshape(number, SIDE, SIDE, height, width, channels).swapaxes(2, 3)
    return grid.reshape(number, SIDE * height, SIDE * width, channels).astype("uint8"), present


def long_tailed_shares(num_classes: int, factor: float) -> np.ndarray:
    """Share of each class, exponentially falling, `(num_classes,)`.

    Args:
        num_classes: Number of classes, at least 2.
        factor: Share of the first class over that of the last, at least 1.

    Example:
        >>> long_tailed_shares(3, 4).round(3).tolist()
        [0.571, 0.286, 0.143]
    """
    shares = float(factor) ** (-np.arange(num_classes) / (num_classes - 1))
    return shares / shares.sum()
