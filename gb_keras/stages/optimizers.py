"""Optimizers and learning rate schedules by name."""

import keras

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")


def learning_rate_schedule(
    schedule: str, learning_rate: float, num_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Learning rate over the steps of a training.

    - `constant`: the same all the time;
    - `cosine`: falls to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983);
    - `step`: a tenth from half of the steps on, a hundredth from three quarters on (as He et al.
      2016, arXiv 1512.03385, on small images).

    Args:
        schedule: One of `SCHEDULES`.
        learning_rate: Learning rate at the start.
        num_steps: Number of steps of the whole training.

    Example:
        >>> step = learning_rate_schedule("step", 1.0, num_steps=100)
        >>> [round(float(step(at)), 2) for at in (0, 50, 51, 75, 76)]
        [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    if schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
    if schedule == "step":
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [num_steps // 2, num_steps * 3 // 4],
            [learning_rate, learning_rate * 0.1, learning_rate * 0.01],
        )
    return learning_rate


def make_optimizer(
    optimizer: str, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """An optimizer with Keras's defaults; `sgd` has momentum 0.9.

    Args:
        optimizer: One of `OPTIMIZERS`.
        learning_rate: A number or a schedule.

    Example:
        >>> make_optimizer("sgd", 0.1).momentum
        0.9
    """
    if optimizer == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=0.9)
    return {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[optimizer](
        learning_rate
    )
