"""Other shares of the classes than a data set has: examples come more often, or not each time."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def class_quotas(shares: Sequence[float], class_counts: Sequence[int]) -> list[int]:
    """How many examples of each class an epoch holds, as many in all as the data set has.

    Args:
        shares: Share of each class in an epoch, `(num_classes,)`, at least 0, 1 in sum, 0 where
            a class has no examples.
        class_counts: Examples of each class in the data set, `(num_classes,)`.

    Returns:
        Examples of each class, `(num_classes,)`: the shares of the whole, rounded such that the
        sum stays.

    Raises:
        ValueError: Shares that are none.

    Example:
        Shares by the square root of the count:

        >>> class_quotas([0.75, 0.25], [90, 10])
        [75, 25]
    """
    counts = np.asarray(class_counts, dtype=np.int64)
    portions = np.asarray(shares, dtype=np.float64)
    if (
        portions.shape != counts.shape
        or not (portions >= 0).all()
        or not np.isclose(portions.sum(), 1.0)
        or (portions[counts == 0] > 0).any()
    ):
        raise ValueError(
            f"Expected a share for each of the {len(counts)} classes, at least 0, 1 in sum, and 0 "
            f"where there are no examples. Received: {shares!r} for class counts of "
            f"{counts.tolist()}."
        )
    exact = portions / portions.sum() * counts.sum()
    quotas = np.floor(exact).astype(np.int64)
    # What rounding down leaves goes to those that lost most.
    losers = np.argsort(quotas - exact, kind="stable")[: counts.sum() - quotas.sum()]
    quotas[losers] += 1
    return quotas.tolist()


def resampled(
    records: tf.data.Dataset,
    quotas: Sequence[int],
    class_counts: Sequence[int],
    epoch: tf.Tensor | int,
) -> tf.data.Dataset:
    """One epoch in which each class has its quota: a record comes several times, once or never.

    There is no chance in it. Example `k` of a class with `n` examples and a quota of `t` comes

        floor((k + e + 1) * t / n) - floor((k + e) * t / n)

    times in epoch `e`. Summed over the examples that is `t`, exactly. Summed over epochs, too, it
    is one difference: an example has come as often as it should after any number of epochs, up to
    one time. So an epoch depends on its number alone, whatever came before it; the files are read
    once from front to back, and a counter for each class is all that is kept. (A stream for each
    class would read the files once for each class; rejecting examples would read them many times
    to find enough of the rare ones.)

    Copies of a record follow one another: shuffle afterwards.

    Args:
        records: Records with a `label`, each a dict, in an order that is always the same.
        quotas: Examples of each class in the epoch, `(num_classes,)`.
        class_counts: Examples of each class in `records`, `(num_classes,)`.
        epoch: Number of the epoch, int64, at least 0.

    Returns:
        As many records as the quotas have in sum.

    Example:
        >>> records = tf.data.Dataset.from_tensor_slices({"label": [0, 0, 0, 0, 1]})
        >>> epoch = resampled(records, quotas=[2, 3], class_counts=[4, 1], epoch=0)
        >>> [int(record["label"]) for record in epoch]
        [0, 0, 1, 1, 1]
    """
    quota = tf.constant(quotas, tf.int64)
    count = tf.constant(class_counts, tf.int64)

    def with_copies(position: tf.Tensor, record: dict[str, tf.Tensor]) -> tuple:
        label = record["label"]
        before = position[label]
        copies = (before + 1) * quota[label] // count[label] - before * quota[label] // count[label]
        after = tf.tensor_scatter_nd_add(position, [[label]], tf.constant([1], tf.int64))
        return after, (record, copies)

    def repeated(record: dict[str, tf.Tensor], copies: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors(record).repeat(copies)

    start = tf.fill([len(quotas)], tf.cast(epoch, tf.int64))
    return records.scan(start, with_copies).flat_map(repeated)
