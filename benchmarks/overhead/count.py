"""What a training step computes, counted in its graph instead of timed."""

import dataclasses
from typing import Any

import tensorflow as tf

from benchmarks.overhead.measure import Runner

# They hand a tensor on, or change its shape alone, without a pass over it.
_FREE = {"Identity", "IdentityN", "StopGradient", "Reshape", "ExpandDims", "Squeeze", "Shape"}


@dataclasses.dataclass(frozen=True)
class Count:
    """The work of one step.

    Attributes:
        operations: Nodes of the graph that compute something.
        passes: Those of them that read or write a tensor with a number for each sample and class.
        float_operations: Floating-point operations, as TensorFlow's profiler counts them. It knows
            none for some kinds of nodes, the softmax among them.
    """

    operations: int
    passes: int
    float_operations: int


def count(name: str, variant: str) -> Count:
    """Count a training step as it is traced, before TensorFlow optimises it.

    Args:
        name: A case.
        variant: As in `measure.Runner`.
    """
    runner = Runner(name, variant)
    # Builds variables of optimizer and statistic, which cannot be made inside of a graph.
    runner.seconds(1)
    batch = [tf.constant(each) for each in runner.batch]
    step = tf.function(lambda inputs, labels: runner.model.train_step((inputs, labels)))
    graph = step.get_concrete_function(*batch).graph
    shape = runner.model.compute_output_shape(batch[0].shape)

    def whole(tensor: Any) -> bool:
        return tensor.shape.rank is not None and tuple(tensor.shape) == tuple(shape)

    working = [
        node
        for node in graph.get_operations()
        if node.type not in {*_FREE, "Const", "Placeholder", "ReadVariableOp", "NoOp"}
    ]
    passing = [node for node in working if any(map(whole, [*node.inputs, *node.outputs]))]
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    profile = tf.compat.v1.profiler.profile(graph, options=options.build())
    return Count(len(working), len(passing), profile.total_float_ops)
