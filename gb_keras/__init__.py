"""Multi-class training on gradient balance for Keras: one changed line in `compile`."""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from gb_keras.version import __version__ as __version__

# TensorBoard, which loads the plugin in this package, shall start fast and without Keras, and so
# shall the command's help: there the names are imported when asked for. Everywhere else at once,
# since Keras finds the classes of a saved model only once they are imported.
_IN_HASTE = "tensorboard.default" in sys.modules or os.path.basename(sys.argv[0]) == "gb-keras"

if TYPE_CHECKING or not _IN_HASTE:
    from gb_keras import baselines as baselines
    from gb_keras import callbacks as callbacks
    from gb_keras import distribution as distribution
    from gb_keras import metrics as metrics
    from gb_keras import multi_label_metrics as multi_label_metrics
    from gb_keras.losses import GradientBalancedLoss as GradientBalancedLoss
    from gb_keras.statistics import GradientDensity as GradientDensity
    from gb_keras.training import GradientBalancedMixin as GradientBalancedMixin
    from gb_keras.training import GradientBalancedModel as GradientBalancedModel
else:
    _HOMES = {
        "baselines": "gb_keras.baselines",
        "callbacks": "gb_keras.callbacks",
        "distribution": "gb_keras.distribution",
        "metrics": "gb_keras.metrics",
        "multi_label_metrics": "gb_keras.multi_label_metrics",
        "GradientBalancedLoss": "gb_keras.losses",
        "GradientDensity": "gb_keras.statistics",
        "GradientBalancedMixin": "gb_keras.training",
        "GradientBalancedModel": "gb_keras.training",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_HOMES[name])
        return module if name == _HOMES[name].rpartition(".")[2] else getattr(module, name)
