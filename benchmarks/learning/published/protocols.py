"""The protocols: which data, network and training, with the source of each number."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.learning.published import augment, labels, schedules
from gb_keras.names import require_name


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of the images of a training split, before any label is changed.

    Attributes:
        images: How many there are.
        largest: Images of the largest class.
        smallest: Images of the smallest class.
    """

    images: int
    largest: int
    smallest: int


@dataclasses.dataclass(frozen=True)
class SplitFile:
    """A list of the images that belong to a training split, one `PATH LABEL` a line.

    Attributes:
        name: Name of the official file.
        feature: Feature of the TFDS data set that holds the name of an image's file.
        prefix: Regular expression of what may stand before that name, there and in the list.
    """

    name: str
    feature: str
    prefix: str

    def keys(self, paths: tf.Tensor) -> tf.Tensor:
        """Names by which the list and the data set agree.

        Args:
            paths: Paths, strings of any shape.

        Example:
            >>> listed = ["train/arena-hockey/7.jpg", "data_256/a/arena/hockey/7.jpg"]
            >>> [key.decode() for key in PLACES_LT_FILE.keys(tf.constant(listed)).numpy()]
            ['arena-hockey-7.jpg', 'arena-hockey-7.jpg']
        """
        return tf.strings.regex_replace(
            tf.strings.regex_replace(paths, f"^{self.prefix}", ""), "/", "-"
        )


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a method is trained and tested.

    Attributes:
        data: Name in TensorFlow Datasets.
        test_split: Its split to test on.
        facts: What must be true of the training images; a run stops where it is not.
        network: One of `networks.NAMES`.
        size: Height and width of the images that the network gets.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        learning_rate: Learning rate that `schedule` multiplies.
        weight_decay: Penalty in the gradient, see `PenalisedSGD`.
        schedule: Factor of the learning rate from `(epoch, epochs)`.
        augment: Training image of `(image, size, chance)`.
        view: Test image of `(image, size)`.
        relabel: Labels to train on of `(labels, num_classes, seed)`, see `labels`; None for those
            of the data set.
        split_file: The list of the training images, or None for all.
        feature_rate: Rate of all layers but the classifier, as a share of the learning rate.
        pretrained: Whether a network that comes with weights gets them.
        sources: Where all of that is from.
    """

    data: str
    test_split: str
    facts: Facts
    network: str
    size: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Callable[[int, int], float]
    augment: Callable[[tf.Tensor, int, tf.Tensor], tf.Tensor]
    view: Callable[[tf.Tensor, int], tf.Tensor]
    sources: str
    relabel: Callable[[np.ndarray, int, int], np.ndarray] | None = None
    split_file: SplitFile | None = None
    feature_rate: float = 1.0
    pretrained: bool = True


IMAGENET_LT_FILE = SplitFile("ImageNet_LT_train.txt", "file_name", ".*/")
PLACES_LT_FILE = SplitFile("Places_LT_train.txt", "filename", "(train/|data_256/[a-z]/)")

# Images of the classes in all, of the first and of the last, by classes and factor. Those for 100
# and 50 are also in the table of data sets of github.com/zhangyongshun/BagofTricks-LT.
LONG_TAIL_FACTS = {
    ("cifar10", 100): Facts(12406, 5000, 50),
    ("cifar10", 50): Facts(13996, 5000, 100),
    ("cifar10", 10): Facts(20431, 5000, 500),
    ("cifar100", 100): Facts(10847, 500, 5),
    ("cifar100", 50): Facts(12608, 500, 10),
    ("cifar100", 10): Facts(19573, 500, 50),
}


def _cifar_long_tail(data: str, factor: int) -> Protocol:
    return Protocol(
        data=data,
        test_split="test",
        facts=LONG_TAIL_FACTS[data, factor],
        network="resnet32",
        size=32,
        epochs=200,
        batch_size=128,
        learning_rate=0.1,
        weight_decay=2e-4,
        schedule=functools.partial(
            schedules.steps, drops=((160 / 200, 0.01), (180 / 200, 0.0001)), warm_up=5
        ),
        augment=augment.shifted,
        view=augment.whole,
        relabel=functools.partial(labels.long_tail, factor=factor),
        sources="Cao et al. 2019, arXiv 1906.07413, section 4 and cifar_train.py of "
        "github.com/kaidic/LDAM-DRW; classes by Cui et al. 2019, arXiv 1901.05555, section 5.1",
    )


def _cifar_noise(data: str, relabel: Callable[..., np.ndarray]) -> Protocol:
    epochs, drops = (120, (40, 80)) if data == "cifar10" else (150, (80, 120))
    per_class = 5000 if data == "cifar10" else 500
    return Protocol(
        data=data,
        test_split="test",
        facts=Facts(50000, per_class, per_class),
        network="resnet34",
        size=32,
        epochs=epochs,
        batch_size=128,
        learning_rate=0.01,
        weight_decay=1e-4,
        schedule=functools.partial(
            schedules.steps, drops=((drops[0] / epochs, 0.1), (drops[1] / epochs, 0.01))
        ),
        augment=augment.shifted,
        view=augment.whole,
        relabel=relabel,
        sources="Zhang and Sabuncu 2018, arXiv 1805.07836, section 4, with the hyper-parameters as "
        "in github.com/AlanChou/Truncated-Loss; noise by Patrini et al. 2017, arXiv 1609.03683, "
        "and noise.py of github.com/giorgiop/loss-correction",
    )


def _imagenet_lt(network: str) -> Protocol:
    return Protocol(
        data="imagenet2012",
        test_split="validation",
        facts=Facts(115_846, 1280, 5),
        network=network,
        size=224,
        epochs=90,
        batch_size=512,
        learning_rate=0.2,
        weight_decay=5e-4,
        schedule=schedules.cosine,
        augment=augment.zoomed_and_coloured,
        view=augment.central,
        split_file=IMAGENET_LT_FILE,
        sources="split by Liu et al. 2019, arXiv 1904.05160, section 4; training by Kang et al. "
        "2020, arXiv 1910.09217, and config/ImageNet_LT/feat_uniform.yaml of "
        "github.com/facebookresearch/classifier-balancing (there with ResNeXt-50); ResNet-10 the "
        "same way in github.com/jiawei-ren/BalancedMetaSoftmax-Classification",
    )


INATURALIST = Protocol(
    data="i_naturalist2018",
    test_split="validation",
    facts=Facts(437_513, 1000, 2),
    network="resnet50",
    size=224,
    epochs=90,
    batch_size=512,
    learning_rate=0.2,
    weight_decay=1e-4,
    schedule=schedules.cosine,
    augment=augment.zoomed,
    view=augment.central,
    sources="Kang et al. 2020, arXiv 1910.09217, and config/iNaturalist18/feat_unifrom.yaml of "
    "github.com/facebookresearch/classifier-balancing; the paper also has 200 epochs",
)

PLACES_LT = Protocol(
    data="places365_small",
    test_split="validation",
    facts=Facts(62_500, 4980, 5),
    network="resnet152_imagenet",
    size=224,
    epochs=30,
    batch_size=128,
    learning_rate=0.1,
    feature_rate=0.01,
    weight_decay=5e-4,
    schedule=functools.partial(schedules.steps, drops=((10 / 30, 0.1), (20 / 30, 0.01))),
    augment=augment.zoomed_and_coloured,
    view=augment.central,
    split_file=PLACES_LT_FILE,
    sources="Liu et al. 2019, arXiv 1904.05160, and config/Places_LT/stage_1.py of "
    "github.com/zhmiao/OpenLongTailRecognition-OLTR, without its hidden layer of 512 units",
)


def _all() -> dict[str, Protocol]:
    found = {}
    mistakes = {
        "cifar10": labels.CIFAR10_MISTAKES,
        "cifar100": labels.next_in_super_class(labels.CIFAR100_SUPER_CLASSES),
    }
    for data in ("cifar10", "cifar100"):
        for factor in (100, 50, 10):
            found[f"{data}-lt-{factor}"] = _cifar_long_tail(data, factor)
    for data, target in mistakes.items():
        for percent in (20, 40, 60, 80):
            relabel = functools.partial(labels.symmetric_noise, share=percent / 100)
            found[f"{data}-symmetric-{percent}"] = _cifar_noise(data, relabel)
        relabel = functools.partial(labels.asymmetric_noise, share=0.4, target=target)
        found[f"{data}-asymmetric-40"] = _cifar_noise(data, relabel)
    found["imagenet-lt-resnet10"] = _imagenet_lt("resnet10")
    found["imagenet-lt-resnet50"] = _imagenet_lt("resnet50")
    return found | {"inaturalist2018": INATURALIST, "places-lt": PLACES_LT}


PROTOCOLS = _all()


def get(name: str) -> Protocol:
    """The protocol of a name.

    Args:
        name: A name in `PROTOCOLS`.

    Raises:
        ValueError: There is none of this name.

    Example:
        >>> get("cifar10-lt-100").epochs
        200
    """
    require_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
