"""What a gradient balance summary says of itself, so that readers know it: format version 2.

Each summary is a tensor with the plugin name `gradient_balance`, the data class *tensor* and, as
plugin content, a JSON object with the fields of `Content`. Its tag is `STATISTIC/KIND`. A model
has one statistic for each balanced output, and two for a multi-label one: the entries verified as
negatives and those verified as positives.

| kind | shape | what it holds |
|---|---|---|
| `density` | `(bins,)` | samples per batch by gradient norm, all classes (moving average) |
| `weights` | `(bins,)` | mean weight of a sample by gradient norm; NaN where no sample is |
| `density_weights` | `(bins,)` | the part of it that is by density alone; NaN where no sample is |
| `histogram` | `(num_rows, bins)` | the density of single classes, those of `histogram_classes` |
| `balanced_histogram` | `(num_rows, bins)` | the same, each sample counted with its weight |
| `histogram_classes` | `(num_rows,)` | int32, the classes of the rows |
| `histogram_quantiles` | `(5, bins)` | over all classes, quantiles of a class's share in a bin |
| `class_counts` | `(num_classes,)` | samples seen since the start |
| `margins` | `(num_classes,)` | margin added to the logits in the training loss |
| `mass_positive` | `(num_classes,)` | gradient per batch that pulls the logit up |
| `mass_negative` | `(num_classes,)` | gradient per batch that pushes the logit down |
| `mean_norms` | `(num_classes,)` | mean gradient norm of the class's samples |
| `mean_weights` | `(num_classes,)` | mean weight of the class's samples |
| `recalls` | `(num_classes,)` | recall in validation (in training where there is none) |
| `num_epochs` | `()` | epochs that the counts span, where Keras knows the length of one |
| `num_skipped` | `()` | samples kept out for non-finite gradients since the start |
| `noise_rate` | `()` | estimated share of wrong labels, where the loss estimates one |
| `loss` | `()` | the training loss, balanced |
| `base_loss` | `()` | the training loss without balance |
| `class_names` | `(num_names,)` | strings, the classes' names in order; step 0, 1, ... are pages |

Numbers are float32 where nothing else is said. `histogram_quantiles` is written, and `histogram`
limited to chosen classes, where a model has more classes than fit into an event (see `summary`).

In version 1 `weights` and `mean_weights` were by density alone, and there was no `density_weights`,
`balanced_histogram` and `noise_rate`. A reader takes each version up to its own.

This module and those that read summaries import neither TensorFlow nor Keras.
"""

import dataclasses
import json

import numpy as np
from tensorboard.compat.proto import summary_pb2

PLUGIN_NAME = "gradient_balance"
VERSION = 2
# How event files with these summaries end, so that they are known among those of others.
FILE_SUFFIX = ".gradient_balance"

VECTORS = (
    "class_counts",
    "margins",
    "mass_positive",
    "mass_negative",
    "mean_norms",
    "mean_weights",
    "recalls",
)
SCALARS = ("num_epochs", "num_skipped", "noise_rate", "loss", "base_loss")
# What is written at each step, whatever the model, and what of it version 1 did not have.
ALWAYS = (
    "density",
    "weights",
    "density_weights",
    "histogram",
    "balanced_histogram",
    "histogram_classes",
    "class_counts",
    "margins",
    "mean_norms",
    "mean_weights",
    "num_skipped",
)
SINCE_VERSION_2 = ("density_weights", "balanced_histogram")
KINDS = (
    "density",
    "weights",
    "density_weights",
    "histogram",
    "balanced_histogram",
    "histogram_classes",
    "histogram_quantiles",
    *VECTORS,
    *SCALARS,
    "class_names",
)
# A name is for people; what is longer is cut.
MAX_NAME_LENGTH = 200
# Nobody counts more; beyond, sums and products would leave float32.
_MOST = 1e15
# Of `histogram_quantiles`.
QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass(frozen=True)
class Content:
    """What stands in the metadata of a summary.

    Attributes:
        kind: One of `KINDS`.
        statistic: Name of the statistic.
        num_classes: Number of classes.
        bins: Number of bins on the gradient norm's range [0, 1].
        balanced: Whether the model trains on balanced gradients, or is only observed.
        multi_label: Whether every logit is a sample of its own.
        density_exponent: How far a crowded bin is weighted down.
        prior_strength: Scale of the class margin.
        max_weight: Limit of the weights, to [1/max_weight, max_weight] before they are scaled to
            mean 1, or None.
        version: Version of the format.
    """

    kind: str
    statistic: str
    num_classes: int
    bins: int
    balanced: bool
    multi_label: bool
    density_exponent: float
    prior_strength: float
    max_weight: float | None
    version: int = VERSION

    def to_bytes(self) -> bytes:
        """As plugin content: a JSON object."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Content":
        """From plugin content.

        Raises:
            ValueError: Not the content of a gradient balance summary, or that of a newer version.

        Example:
            >>> content = Content("density", "output", 10, 30, True, False, 0.5, 1.0, 2.0)
            >>> Content.from_bytes(content.to_bytes()) == content
            True
        """
        try:
            fields = json.loads(content)
            version = int(fields["version"])
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                "Expected the metadata of a gradient balance summary. Received something else: "
                f"{_shown(content)}. It was not written by gb_keras."
            ) from None
        if version > VERSION:
            raise ValueError(
                f"Expected summaries of format version {VERSION} at most. Received version "
                f"{version}: a newer gb-keras wrote them. Upgrade gb-keras where TensorBoard runs."
            )
        try:
            known = cls(**{field.name: fields[field.name] for field in dataclasses.fields(cls)})
        except KeyError as missing:
            raise ValueError(
                f"Expected {missing} in the metadata of a gradient balance summary. Received "
                f"{', '.join(sorted(fields))}. The log is damaged, or gb_keras did not write it."
            ) from None
        if not (
            isinstance(known.statistic, str)
            and all(_is_count(size) for size in (known.num_classes, known.bins))
            and (known.max_weight is None or isinstance(known.max_weight, (int, float)))
        ):
            raise ValueError(
                "Expected a name, numbers of classes and bins, and a cap in the metadata of a "
                f"gradient balance summary. Received {json.dumps(fields)[:200]}."
            )
        if known.kind not in KINDS:
            raise ValueError(
                f"Expected one of the kinds {', '.join(KINDS)}. Received {known.kind!r}."
            )
        return known


def _shown(content: bytes) -> str:
    """The beginning of what should have been JSON, as far as a person can read it."""
    text = content[:80].decode(errors="replace").replace("\ufffd", "")
    return (
        f'"{text}"' if text and text.isprintable() else f"{len(content):,} bytes that are no text"
    )


def _is_count(value: object) -> bool:
    # Nobody has more; a damaged number must not take all memory.
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000_000


def fits(content: Content, kind: str, tensor: np.ndarray) -> bool:
    """Whether a tensor has the type and the shape that its kind has, and classes that there are."""
    if kind == "class_names":
        return tensor.dtype.kind in "OSU" and tensor.ndim == 1
    # None stands for any length.
    shape: tuple[int | None, ...] = {
        "density": (content.bins,),
        "weights": (content.bins,),
        "density_weights": (content.bins,),
        "histogram": (None, content.bins),
        "balanced_histogram": (None, content.bins),
        "histogram_classes": (None,),
        "histogram_quantiles": (len(QUANTILE_LEVELS), content.bins),
        **dict.fromkeys(VECTORS, (content.num_classes,)),
        **dict.fromkeys(SCALARS, ()),
    }[kind]
    return (
        tensor.dtype.kind == ("i" if kind == "histogram_classes" else "f")
        and tensor.ndim == len(shape)
        and all(size in (None, real) for size, real in zip(shape, tensor.shape, strict=True))
        and (
            kind != "histogram_classes"
            or bool(np.all((tensor >= 0) & (tensor < content.num_classes)))
        )
    )


def mended(content: Content, kind: str, tensor: np.ndarray) -> tuple[np.ndarray, bool]:
    """A tensor that `fits`, and whether it is whole, without the numbers that its kind cannot have.

    In the place of these are zeros, or NaN where the kind has it for what is not known.

    Args:
        content: What the summary says of itself.
        kind: Its kind.
        tensor: What it holds.
    """
    if kind in ("class_names", "histogram_classes", "loss", "base_loss"):
        # The loss of a training that diverges is not finite: that is no damage.
        return tensor, True
    may_be_nan = kind in ("weights", "density_weights", "mean_norms", "mean_weights", "recalls")
    # A weight without a cap may be of any size.
    weighted = kind in ("weights", "density_weights", "mean_weights", "balanced_histogram")
    most = np.finfo(np.float32).max if weighted else _MOST
    possible = np.abs(tensor) <= most
    if kind != "margins":
        possible &= tensor >= 0
    if may_be_nan:
        possible |= np.isnan(tensor)
    if possible.all():
        return tensor, True
    return np.where(possible, tensor, np.nan if may_be_nan else 0).astype(np.float32), False


def cut(name: str) -> str:
    """A name short enough to be written and shown.

    Example:
        >>> len(cut("x" * 10_000))
        200
    """
    # Half of a surrogate pair has no UTF-8.
    name = name.encode(errors="replace").decode()
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"


def tag(statistic: str, kind: str) -> str:
    """Tag of a summary."""
    return f"{statistic}/{kind}"


def summary_metadata(content: Content) -> summary_pb2.SummaryMetadata:
    """Metadata to write a summary with."""
    return summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(
            plugin_name=PLUGIN_NAME, content=content.to_bytes()
        ),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
