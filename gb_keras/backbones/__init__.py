"""Image classifiers by name: pixel values 0..255 in, logits out, preprocessing inside."""

from gb_keras.backbones.build import build as build
from gb_keras.backbones.catalogue import Backbone as Backbone
from gb_keras.backbones.catalogue import get as get
from gb_keras.backbones.catalogue import names as names
from gb_keras.backbones.classifier import classifier as classifier
from gb_keras.backbones.freezing import freeze as freeze
from gb_keras.backbones.small_networks import (
    BATCH_NORMALIZATION_MOMENTUM as BATCH_NORMALIZATION_MOMENTUM,
)
