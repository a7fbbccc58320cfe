"""The regimes of the comparison: a data set, and what was done to its training labels."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.learning.incomplete_labels import known_entries, missing_positives
from benchmarks.learning.mosaics import long_tailed_shares, mosaics
from gb_keras.data.array_source import digits, mnist5k
from gb_keras.data.pipeline import load_split
from gb_keras.data.views import drawn_indices, long_tail_indices, noisy_labels
from gb_keras.names import require_name
from gb_keras.stages.prepare import prepare

# Where data sets are prepared that take a while to make.
PREPARED = Path("runs/learning/data")
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
# Mosaics of the training, validation and test split.
NUM_MOSAICS = (4000, 1000, 2000)


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: Grey values 0..255, uint8, `(num_images, height, width, 1)`.
        labels: Class indices, int64, `(num_images,)`; of mosaics 0 or 1, float32,
            `(num_images, num_classes)`.
        known: Sample weights 1 or 0, float32, in the shape of labels; None where all are known.
    """

    images: np.ndarray
    labels: np.ndarray
    known: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, positions: np.ndarray) -> "Split":
        """The images at some positions."""
        known = None if self.known is None else self.known[positions]
        return Split(self.images[positions], self.labels[positions], known)


@dataclasses.dataclass(frozen=True)
class Task:
    """What one trial learns: clean labels to validate and test on, the regime's to train on.

    Attributes:
        train: Long-tailed, noisy and incomplete, as the regime says.
        validation: What settings are chosen by.
        test: What is reported.
        num_classes: Number of classes.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of labels."""
        return self.train.labels.ndim == 2

    @property
    def class_counts(self) -> np.ndarray:
        """Training samples of each class, `(num_classes,)`.

        Of a multi-label task the known entries of each, negatives and positives,
        `(2, num_classes)`.
        """
        labels = self.train.labels
        if not self.multi_label:
            return np.bincount(labels, minlength=self.num_classes)
        known = np.ones_like(labels) if self.train.known is None else self.train.known
        counts = [(known * (labels == value)).sum(axis=0) for value in (0, 1)]
        return np.stack(counts).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Regime:
    """A data set and what is done to its training split, in this order.

    Attributes:
        data: One of `DATA`.
        long_tail: Largest over smallest class, at least 1.
        noise: Share of labels changed to any other class.
        pair_noise: Share of each class's labels changed to the next class, the last one's to the
            first: asymmetric noise, which always speaks for the same wrong class.
        per_class: Images of each class to keep before all else, or None for all.
        epochs: Passes over the training split of an MLP; a CNN, which learns sooner and takes
            longer for each, makes less (see `trial.EPOCHS`).
        mosaics: Whether images are mosaics of the data's, with several labels each (see
            `mosaics.mosaics`); those of the training split have the long tail in their choice of
            classes, and no label noise but these two.
        missing: Share of the positive labels of mosaics recorded as negative.
        unknown: Share of the labels of mosaics, of both kinds, that are known to be unknown.
    """

    data: str
    long_tail: float = 1.0
    noise: float = 0.0
    pair_noise: float = 0.0
    per_class: int | None = None
    epochs: int = 50
    mosaics: bool = False
    missing: float = 0.0
    unknown: float = 0.0

    def __post_init__(self) -> None:
        other = (self.noise, self.pair_noise) if self.mosaics else (self.missing, self.unknown)
        if any(other):
            raise ValueError(
                "Expected noise or pair_noise of images with one label, and missing or unknown of "
                f"mosaics. Received: {self}."
            )

    @property
    def balanced_and_clean(self) -> bool:
        """Whether there is nothing to repair."""
        changed = (self.noise, self.pair_noise, self.missing, self.unknown)
        return self.long_tail == 1 and not any(changed)


REGIMES = {
    "mnist5k": Regime("mnist5k"),
    "mnist5k-lt10": Regime("mnist5k", long_tail=10),
    "mnist5k-lt100": Regime("mnist5k", long_tail=100),
    "mnist5k-lt1000": Regime("mnist5k", long_tail=1000),
    "mnist5k-noise20": Regime("mnist5k", noise=0.2),
    "mnist5k-noise40": Regime("mnist5k", noise=0.4),
    "mnist5k-pair20": Regime("mnist5k", pair_noise=0.2),
    "mnist5k-lt100-noise30": Regime("mnist5k", long_tail=100, noise=0.3),
    "glyphs-lt100": Regime("glyphs", per_class=600, long_tail=100, epochs=30),
    "glyphs-lt100-noise30": Regime("glyphs", per_class=600, long_tail=100, noise=0.3, epochs=30),
    "glyphs-few": Regime("glyphs", per_class=20),
    "extreme": Regime("letters-and-6-digits", per_class=4000, long_tail=4000, epochs=30),
    "cjk-few": Regime("glyphs-cjk", per_class=10, epochs=20),
    "mosaics-lt10-missing50": Regime("mnist5k", long_tail=10, epochs=20, mosaics=True, missing=0.5),
    "mosaics-lt10-unknown50": Regime("mnist5k", long_tail=10, epochs=20, mosaics=True, unknown=0.5),
    "digits": Regime("digits"),
    "digits-lt30": Regime("digits", long_tail=30),
    "digits-noise30": Regime("digits", noise=0.3),
}


def load(regime: Regime, seed: int) -> Task:
    """The task of a regime: the same regime and seed give the same task.

    Args:
        regime: The regime.
        seed: Seed of splits, long tail, mosaics, noise and what is missing.

    Example:
        >>> task = load(Regime("digits", long_tail=10, noise=0.3), seed=0)
        >>> len(task.train), len(task.test), task.num_classes
        (515, 360, 10)
    """
    require_name("data", regime.data, DATA)
    train, validation, test = DATA[regime.data](seed)
    num_classes = int(train.labels.max()) + 1
    generator = np.random.default_rng(seed)
    if regime.per_class is not None:
        train = train.at(drawn_indices(train.labels, [regime.per_class] * num_classes, generator))
    if regime.mosaics:
        return _of_mosaics(regime, (train, validation, test), num_classes, generator)
    train = train.at(long_tail_indices(train.labels, num_classes, regime.long_tail, seed))
    labels = noisy_labels(train.labels, num_classes, regime.noise, seed)
    labels = pair_noise(labels, num_classes, regime.pair_noise, generator)
    return Task(Split(train.images, labels), validation, test, num_classes)


def _of_mosaics(
    regime: Regime,
    splits: tuple[Split, Split, Split],
    num_classes: int,
    generator: np.random.Generator,
) -> Task:
    """Mosaics of each split's own images, so that no two splits have an image in common."""
    long_tails = (regime.long_tail, 1, 1)
    train, validation, test = (
        Split(
            *mosaics(
                split.images,
                split.labels,
                number,
                long_tailed_shares(num_classes, long_tail),
                generator,
            )
        )
        for split, number, long_tail in zip(splits, NUM_MOSAICS, long_tails, strict=True)
    )
    labels = missing_positives(train.labels, regime.missing, generator)
    known = known_entries(labels.shape, regime.unknown, generator) if regime.unknown else None
    return Task(Split(train.images, labels, known), validation, test, num_classes)


def pair_noise(
    labels: np.ndarray, num_classes: int, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    """Asymmetric label noise: a fraction of each class's labels becomes the next class.

    Args:
        labels: Class indices, `(num_samples,)`; left as they are.
        num_classes: Number of classes.
        fraction: Share of each class's labels to change, in [0, 1); rounded to whole labels.
        generator: Source of the draw.

    Returns:
        The noisy labels, `(num_samples,)`.

    Example:
        >>> noisy = pair_noise(np.repeat([0, 1, 2], 10), 3, 0.2, np.random.default_rng(0))
        >>> [np.bincount(part, minlength=3).tolist() for part in np.split(noisy, 3)]
        [[8, 2, 0], [0, 8, 2], [2, 0, 8]]

    Reference:
        Han et al., "Co-teaching", NeurIPS 2018, arXiv 1804.06872, figure 2 (pair flipping).
    """
    noisy = labels.copy()
    for index in range(num_classes):
        of_class = generator.permutation(np.flatnonzero(labels == index))
        noisy[of_class[: round(fraction * len(of_class))]] = (index + 1) % num_classes
    return noisy


def _embedded(make: Callable, seed: int) -> tuple[Split, Split, Split]:
    """Splits of a data set that comes whole, drawn anew for each seed, stratified by class."""
    from sklearn.model_selection import train_test_split

    images, labels = _arrays(make)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, random_state=seed, stratify=labels
    )
    train, validation = train_test_split(
        rest,
        test_size=VALIDATION_SHARE / (1 - TEST_SHARE),
        random_state=seed,
        stratify=labels[rest],
    )
    everything = Split(images, labels)
    return everything.at(train), everything.at(validation), everything.at(test)


@functools.cache
def _arrays(make: Callable) -> tuple[np.ndarray, np.ndarray]:
    examples = list(make().examples("train"))
    images = np.stack([example.load()[..., :1] for example in examples])
    return images, np.array([example.label for example in examples], np.int64)


@functools.cache
def _prepared(name: str) -> tuple[Split, Split, Split]:
    """Splits of a data set as `prepare` makes it, which is done once."""
    folder = PREPARED / name
    prepare(name, folder)
    return tuple(_read(folder, split) for split in ("train", "validation", "test"))  # type: ignore[return-value]


def _read(folder: Path, split: str) -> Split:
    batches = load_split(folder, split, batch_size=1024, shuffle=False, seed=0).as_numpy_iterator()
    images, labels = zip(*batches, strict=True)
    return Split(np.concatenate(images).astype(np.uint8), np.concatenate(labels).astype(np.int64))


def _letters_and_6_digits() -> tuple[Split, Split, Split]:
    """Seven classes of `glyphs`: any letter, and 2 to 7, which no letter looks like."""
    label_of = np.full(62, -1)
    label_of[:52] = 0
    label_of[54:60] = np.arange(1, 7)

    def merged(split: Split) -> Split:
        labels = label_of[split.labels]
        return Split(split.images[labels >= 0], labels[labels >= 0])

    train, validation, test = _prepared("glyphs")
    return merged(train), merged(validation), merged(test)


# name: seed -> train, validation and test split
DATA: dict[str, Callable[[int], tuple[Split, Split, Split]]] = {
    "digits": functools.partial(_embedded, digits),
    "mnist5k": functools.partial(_embedded, mnist5k),
    # Their test images are of other fonts than the training images, whatever the seed.
    "glyphs": lambda seed: _prepared("glyphs"),
    "glyphs-cjk": lambda seed: _prepared("glyphs-cjk"),
    "letters-and-6-digits": lambda seed: _letters_and_6_digits(),
}
