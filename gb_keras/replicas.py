"""Sums over all devices that train together."""

from typing import Any

import tensorflow as tf


def sum_over_replicas(values: Any) -> Any:
    """Sum of each tensor over all replicas in sync; the values themselves with one replica.

    Args:
        values: A tensor or a structure of them, in a replica's context.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
