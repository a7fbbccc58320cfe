"""Multi-class training on gradient balance for Keras: one changed line in `compile`."""

from gb_keras import baselines as baselines
from gb_keras import metrics as metrics
from gb_keras.losses import GradientBalancedLoss as GradientBalancedLoss
from gb_keras.statistics import GradientDensity as GradientDensity
from gb_keras.training import GradientBalancedMixin as GradientBalancedMixin
from gb_keras.training import GradientBalancedModel as GradientBalancedModel
