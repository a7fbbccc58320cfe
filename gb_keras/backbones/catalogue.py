"""Backbones by name."""

import os

from gb_keras.backbones import hub, saved
from gb_keras.backbones.applications import applications
from gb_keras.backbones.backbone import PRESET, Backbone, to_minus_one_to_one
from gb_keras.backbones.basic_resnet import basic_resnet, basic_resnet_v2
from gb_keras.backbones.small_networks import resnet32, small_cnn
from gb_keras.names import require_name


def names() -> list[str]:
    """Names that `get` and `build` know.

    Example:
        >>> names()[:8]
        ['small_cnn', 'resnet32', 'resnet18', 'resnet34', 'resnet18_v2', 'resnet34_v2', 'vgg16',
        'vgg19']
    """
    return list(_BACKBONES)


def get(name: str | os.PathLike) -> Backbone:
    """The backbone of a name, or of a saved model.

    Args:
        name: One of `names()`, `hub:` and a preset of keras-hub, a `.keras` file or the folder of
            a finished training.

    Raises:
        ValueError: There is none of this name, or the saved model cannot be one.
        FileNotFoundError: There is no file of this path.
        ConnectionError: The preset could not be downloaded.
    """
    if os.fspath(name).startswith(PRESET):
        return hub.backbone(os.fspath(name).removeprefix(PRESET))
    file = saved.model_file(name)
    if file is not None:
        return saved.backbone(file)
    require_name("backbone", name, _BACKBONES)
    return _BACKBONES[os.fspath(name)]


_BACKBONES = {
    "small_cnn": Backbone(small_cnn, to_minus_one_to_one, 8, 32),
    "resnet32": Backbone(resnet32, to_minus_one_to_one, 32, 32),
    **{
        name: Backbone(features, to_minus_one_to_one, 32, 224)
        for name, features in {
            "resnet18": basic_resnet((2, 2, 2, 2)),
            "resnet34": basic_resnet((3, 4, 6, 3)),
            "resnet18_v2": basic_resnet_v2((2, 2, 2, 2)),
            "resnet34_v2": basic_resnet_v2((3, 4, 6, 3)),
        }.items()
    },
    **applications(),
}
