"""Learning rates over epochs: a factor that depends on the number of the epoch alone."""

import math
from collections.abc import Sequence


def steps(epoch: int, epochs: int, drops: Sequence[tuple[float, float]], warm_up: int = 0) -> float:
    """Constant between drops, after a linear warm-up.

    Drops are given as shares of the training, so that a shorter one still has all of them.

    Args:
        epoch: Number of the epoch, from 0.
        epochs: Epochs of the whole training.
        drops: Pairs of a share of the training and the factor from there on, ascending.
        warm_up: Epochs on the way up.

    Returns:
        Factor of the learning rate.

    Example:
        The schedule of Cao et al. 2019 (their program: a fifth more in each of five epochs, a
        hundredth from epoch 160 on, a ten-thousandth from epoch 180 on):

        >>> drops = ((0.8, 0.01), (0.9, 0.0001))
        >>> [steps(epoch, 200, drops, warm_up=5) for epoch in (0, 4, 159, 160, 180)]
        [0.2, 1.0, 1.0, 0.01, 0.0001]
    """
    if epoch < warm_up:
        return (epoch + 1) / warm_up
    factor = 1.0
    for share, after in drops:
        # The small addition keeps shares such as 1/3 from starting one epoch late.
        if epoch + 1e-6 >= share * epochs:
            factor = after
    return factor


def cosine(epoch: int, epochs: int) -> float:
    """Falls to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).

    Args:
        epoch: Number of the epoch, from 0.
        epochs: Epochs of the whole training.

    Returns:
        Factor of the learning rate.

    Example:
        >>> [round(cosine(epoch, 90), 2) for epoch in (0, 45, 89)]
        [1.0, 0.5, 0.0]
    """
    return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
