"""The labels of many images of a multi-label data set, as columns."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from gb_keras.data.label_set import LabelSet

_LIST = pa.list_(pa.int32())


class LabelSets(Sequence[LabelSet]):
    """Label sets that become objects only when they are looked at.

    Args:
        present: Class indices that each image shows, a column of lists.
        absent: Class indices that each is known not to show; null where nothing is unknown.

    Example:
        >>> sets = LabelSets.of([LabelSet((0, 2)), LabelSet((1,), absent=(0,))])
        >>> len(sets), sets[1]
        (2, LabelSet(present=(1,), absent=(0,)))
    """

    def __init__(self, present: pa.ListArray, absent: pa.ListArray) -> None:
        self.present = present
        self.absent = absent

    @classmethod
    def of(cls, labels: Iterable[LabelSet]) -> "LabelSets":
        """Those of objects."""
        labels = list(labels)
        present, absent = [each.present for each in labels], [each.absent for each in labels]
        return cls(pa.array(present, _LIST), pa.array(absent, _LIST))

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]
        """One label set; no slices."""
        absent = self.absent[int(index)].as_py()
        return LabelSet(
            present=tuple(self.present[int(index)].as_py()),
            absent=None if absent is None else tuple(absent),
        )

    def take(self, positions: np.ndarray) -> "LabelSets":
        """Those at these positions.

        Example:
            >>> LabelSets.of([LabelSet((0,)), LabelSet((1,))]).take(np.array([1]))[0]
            LabelSet(present=(1,), absent=None)
        """
        taken = pa.array(positions, pa.int64())
        return LabelSets(self.present.take(taken), self.absent.take(taken))

    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and class of all that images show, both int, `(num_shown,)`.

        Example:
            >>> owners, labels = LabelSets.of([LabelSet((0, 2)), LabelSet((1,))]).shown()
            >>> owners.tolist(), labels.tolist()
            ([0, 0, 1], [0, 2, 1])
        """
        return _owners(self.present), self.present.flatten().to_numpy()

    def relabelled(self, new: np.ndarray) -> "LabelSets":
        """The same with other class indices.

        Args:
            new: New index of each class, `(num_classes,)`, ascending; -1 for one that is dropped.

        Example:
            >>> LabelSets.of([LabelSet((0, 2))]).relabelled(np.array([-1, 0, 1]))[0]
            LabelSet(present=(1,), absent=None)
        """
        return LabelSets(*(_relabelled(each, new) for each in (self.present, self.absent)))

    def known(self) -> np.ndarray:
        """Whether anything is known of each image, bool, `(num_images,)`.

        Example:
            >>> sets = LabelSets.of([LabelSet(()), LabelSet((), absent=()), LabelSet((1,), ())])
            >>> sets.known().tolist()
            [True, False, True]
        """
        return (_lengths(self.present) > 0) | (_lengths(self.absent) > 0) | _nulls(self.absent)


def _nulls(lists: pa.ListArray) -> np.ndarray:
    return lists.is_null().to_numpy(zero_copy_only=False)


def _lengths(lists: pa.ListArray) -> np.ndarray:
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)


def _owners(lists: pa.ListArray) -> np.ndarray:
    return np.repeat(np.arange(len(lists)), _lengths(lists))


def _relabelled(lists: pa.ListArray, new: np.ndarray) -> pa.ListArray:
    values = new[lists.flatten().to_numpy()]
    lengths = np.bincount(_owners(lists)[values >= 0], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.array(values[values >= 0], pa.int32()),
        mask=pa.array(_nulls(lists)),
    )
