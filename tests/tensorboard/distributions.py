"""Distributions of gradient norms made by hand: samples in each of ten bins."""

import numpy as np

# Most samples are learned, and a clump sits at norm 1.
NOISY = np.array([60.0, 10.0, 4.0, 2.0, 1.0, 1.0, 1.0, 2.0, 4.0, 15.0])
HEALTHY = np.array([60.0, 20.0, 8.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.3, 0.2])
UNTRAINED = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 9.0, 90.0])
