"""What belongs together because something ties it, directly or over others."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse.csgraph


def connected(pairs: Sequence[tuple[int, int]] | np.ndarray, number: int) -> np.ndarray:
    """A number for the group of each thing, in the order in which groups first appear.

    Args:
        pairs: Things that are tied to each other, at least one pair.
        number: How many things there are.

    Returns:
        Groups, int, `(number,)`.

    Example:
        >>> connected([(0, 2), (2, 3)], 5).tolist()
        [0, 1, 0, 0, 2]
    """
    ones = np.ones(len(pairs), dtype=bool)
    ties = scipy.sparse.coo_array((ones, tuple(np.asarray(pairs).T)), [number] * 2)
    return scipy.sparse.csgraph.connected_components(ties, directed=False)[1]
