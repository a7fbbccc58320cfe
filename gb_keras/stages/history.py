"""The history of a run: losses and metrics of each epoch, by name."""

History = dict[str, list[float]]


def best_epoch(history: History) -> int:
    """The epoch with the best balanced accuracy in validation, counted from 1.

    Args:
        history: Of a run with at least one epoch.

    Example:
        >>> best_epoch({"val_balanced_accuracy": [0.5, 0.7, 0.7]})
        2
    """
    balanced_accuracy = history["val_balanced_accuracy"]
    return 1 + balanced_accuracy.index(max(balanced_accuracy))


def last_epoch(history: History) -> dict[str, float]:
    """Losses and metrics of the last epoch, by name.

    Args:
        history: Of a run with at least one epoch.

    Example:
        >>> last_epoch({"loss": [2.0, 1.0]})
        {'loss': 1.0}
    """
    return {name: values[-1] for name, values in history.items()}
