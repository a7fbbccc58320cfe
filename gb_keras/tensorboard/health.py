"""What a gradient statistic says about the health of a training: pure functions of NumPy arrays."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gb_keras.tensorboard.distribution import EASY, HARD, share_below, share_between

MAX_CLASSES = 20
# Where the estimate of wrong labels starts, `gb_keras.trust.INITIAL_NOISE_RATE`, said again here:
# that module loads TensorFlow, which TensorBoard does without.
NOISE_RATE_AT_START = 0.05


@dataclasses.dataclass(frozen=True)
class Finding:
    """One check and what came out.

    Attributes:
        kind: Which check.
        severity: `"ok"`, `"info"` or `"warning"`.
        title: In a few words.
        text: What was seen.
        advice: What to do; empty where there is nothing to do.
        classes: Classes it is about and a number for each, most important first.
        number_of_class: What that number is.
        num_left_out: How many more classes it is about.
    """

    kind: str
    severity: str
    title: str
    text: str
    advice: str = ""
    classes: Sequence[tuple[int, float]] = ()
    number_of_class: str = ""
    num_left_out: int = 0


def noise(
    density: np.ndarray,
    histogram: np.ndarray,
    classes: np.ndarray,
    noise_rate: float | None,
    multi_label: bool,
    num_classes: int,
    earlier: np.ndarray | None,
) -> Finding:
    """A second hump at norm 1, while other samples are learned: a mark of label noise.

    Samples that are not learned yet stand there as well. So it is a warning only where the estimate
    of wrong labels says so, or where the hump stays and the estimate does not speak against it.

    Args:
        density: Samples per bin of all classes, `(bins,)`.
        histogram: Samples per bin of single classes, `(num_rows, bins)`.
        classes: Which classes these are, `(num_rows,)`.
        noise_rate: Estimated share of wrong labels, in [0, 1], or None where it is not known.
        multi_label: Whether every logit is a sample of its own.
        num_classes: Number of all classes.
        earlier: Samples per bin of all classes at two thirds of the log, `(bins,)`; None where
            the log is too short to have one.
    """
    share = share_between(density, HARD, 1.0)
    remarks = ""
    if noise_rate is not None:
        remarks = f" Estimated share of wrong labels: {noise_rate:.1%}."
    if not _has_bump(density):
        if noise_rate is not None and noise_rate > NOISE_RATE_AT_START:
            return Finding(
                "noise",
                "info",
                "No bump at norm 1, but labels are doubted",
                f"{share:.1%} of the samples have a norm above {HARD}." + remarks,
                "Train on and look again: the estimate needs some hundred steps, and falls by "
                "itself where labels are right.",
            )
        return Finding(
            "noise",
            "ok",
            "No sign of label noise",
            f"{share:.1%} of the samples have a norm above {HARD}, and there is no bump at 1."
            + remarks,
        )
    hard = np.array([share_between(row, HARD, 1.0) for row in histogram])
    # A class whose samples are all hard is not learned yet, as a rare one may be for long.
    learned = np.array([_has_bump(row) for row in histogram], dtype=bool)
    suspects = learned if learned.any() else hard > 0.5
    order = [row for row in np.argsort(-hard, kind="stable") if suspects[row]]
    found = [(int(classes[row]), float(hard[row])) for row in order][:MAX_CLASSES]
    number_of_class, num_left_out = f"share of samples above {HARD}", len(order) - len(found)
    if found and len(classes) < num_classes:
        remarks += (
            f" Only {len(classes):,} of {num_classes:,} classes have a histogram of their own in "
            "the log: the list is of these."
        )
    if len(found) and not learned.any():
        return Finding(
            "noise",
            "info",
            "A bump at norm 1, of classes that are not learned yet",
            f"{share:.1%} of the samples have a norm above {HARD}. They are of classes of which "
            "hardly a sample is learned, so it is no sign of wrong labels." + remarks,
            "Train on; if these classes stay there, look at their recall and at what they are "
            "taken for.",
            found,
            number_of_class,
            num_left_out,
        )
    doubts = _doubts_of_noise(share, noise_rate, earlier)
    if doubts:
        return Finding(
            "noise",
            "info",
            "A bump at norm 1, perhaps of samples that are not learned yet",
            f"{share:.1%} of the samples have a norm above {HARD}, while others are learned. "
            + doubts
            + remarks,
            "Train on and look again. If the bump stays, look for wrong labels among the samples "
            "of these classes that the model gets wrong with certainty.",
            found,
            number_of_class,
            num_left_out,
        )
    return Finding(
        "noise",
        "warning",
        "A bump at norm 1: look for wrong labels",
        f"{share:.1%} of the samples have a norm above {HARD}, more than of the norms below it, "
        "while others are learned. The model is sure that they belong to another class." + remarks,
        "Look at the samples of these classes that the model gets wrong with certainty, and "
        "correct wrong labels. "
        + (
            "A density_exponent above 0 turns the bump down."
            if multi_label
            else "Until then GradientBalancedLoss weighs doubtful labels down, the more the higher "
            "its noise_exponent; 0 trusts all labels."
        ),
        found,
        number_of_class,
        num_left_out,
    )


def _doubts_of_noise(share: float, noise_rate: float | None, earlier: np.ndarray | None) -> str:
    """Why a bump may be something else than wrong labels, in words; empty where nothing says so."""
    if noise_rate is not None and noise_rate >= share / 2:
        return ""
    if noise_rate is not None and noise_rate < share / 4:
        return "By the estimate few of their labels are wrong: most are rare or hard."
    if earlier is None:
        return "It is too early to tell wrong labels from what is not learned yet."
    before = share_between(earlier, HARD, 1.0)
    if share < 0.7 * before:
        return f"They were {before:.1%} earlier: they are being learned, or learned by heart."
    return ""


def _has_bump(density: np.ndarray) -> bool:
    """Whether a density has learned samples near 0 and a bump near 1, with a valley between."""
    total = density.sum()
    if total <= 0:
        return False
    tenths = np.diff([share_below(density, tenth / 10) for tenth in range(11)])
    valley = tenths[3:9].min()
    return bool(
        tenths[:2].sum() > 0.1
        and tenths[9] > 0.02
        and tenths[9] > 1.5 * valley + 0.005
        and tenths[9] > tenths[7:9].max()
    )


def skipped(num_skipped: float, num_seen: float) -> Finding:
    """Samples that were kept out because their loss or gradient was not finite.

    Args:
        num_skipped: Samples kept out since the start.
        num_seen: Samples taken in since the start.
    """
    if num_skipped <= 0:
        return Finding("skipped", "ok", "All gradients are finite", "No sample was kept out.")
    share = num_skipped / max(num_skipped + num_seen, 1.0)
    return Finding(
        "skipped",
        "warning",
        f"{num_skipped:,.0f} samples with non-finite gradients",
        f"{share:.2%} of the samples had a loss or gradient that was infinite or not a number. "
        "They were kept out of the statistic.",
        "Look for overflow: lower the learning rate, clip gradients, check inputs for NaN, and use "
        "a LossScaleOptimizer with mixed_float16.",
    )


def all_skipped(num_skipped: float) -> Finding:
    """Of late there was no sample with a finite gradient.

    Args:
        num_skipped: Samples kept out of late.
    """
    return Finding(
        "skipped",
        "warning",
        "No sample has a finite gradient any more",
        f"All of the last {num_skipped:,.0f} samples had a loss or gradient that was infinite or "
        "not a number. The statistic is from before; what it says is not checked.",
        "Stop, and start again from an earlier checkpoint with a lower learning rate or clipped "
        "gradients. Check inputs for NaN.",
    )


def damaged(kinds: Sequence[str]) -> Finding:
    """Summaries that do not hold what they should.

    Args:
        kinds: Kinds of the damaged summaries.
    """
    if not kinds:
        return Finding(
            "damaged",
            "ok",
            "What was read is whole",
            "All summaries that TensorBoard has read hold what they should. Of a file that breaks "
            "off it reads what is before.",
        )
    return Finding(
        "damaged",
        "warning",
        "Parts of the log are damaged",
        f"Summaries of {', '.join(kinds)} cannot be read, have another shape than they should, or "
        "numbers that cannot be: negative, infinite or NaN. These are left out or taken for 0.",
        "Do not trust what is shown of them. Look for what else writes to this directory, and "
        "train again.",
    )


def unseen(counts: np.ndarray, earlier: np.ndarray) -> Finding:
    """Classes without samples, or that had samples before and get none any more.

    Args:
        counts: Samples of each class seen up to now, `(num_classes,)`.
        earlier: The same at an earlier step, `(num_classes,)`.
    """
    never = np.flatnonzero(counts == 0)
    new = counts - earlier
    share = earlier / max(earlier.sum(), 1.0)
    # At its former rate at least 5 more samples would have come: chance leaves none in 1 of 148.
    missed = np.flatnonzero((new == 0) & (earlier > 0) & (share * new.sum() >= 5))
    if not len(never) and not len(missed):
        return Finding("unseen", "ok", "All classes are seen", "Each class had samples of late.")
    text = []
    if len(never):
        have = "has" if len(never) == 1 else "have"
        text.append(f"{len(never):,} of {len(counts):,} classes {have} had no sample yet.")
    if len(missed):
        text.append(
            f"{len(missed):,} {'class' if len(missed) == 1 else 'classes'} had samples before and "
            f"none while {new.sum():,.0f} samples of others came."
        )
    return Finding(
        "unseen",
        "warning",
        "Classes without samples",
        " ".join(text),
        "Check the class list against the labels, and that the data is shuffled over all classes.",
        [(int(index), float(counts[index])) for index in [*missed, *never]][:MAX_CLASSES],
        number_of_class="samples seen",
        num_left_out=max(len(missed) + len(never) - MAX_CLASSES, 0),
    )


def capped(density: np.ndarray, weights: np.ndarray, max_weight: float | None) -> Finding:
    """Samples of the largest or the smallest weight by density, where the ratio is at its limit.

    Args:
        density: Samples per bin, `(bins,)`.
        weights: Weight of a sample in each bin by density alone, `(bins,)`.
        max_weight: Limit of the weights, to [1/max_weight, max_weight], or None.
    """
    occupied = (density > 0) & np.isfinite(weights)
    spread = weights[occupied].max() / weights[occupied].min() if occupied.any() else 1.0
    # Weights are scaled to mean 1 after they are limited: it shows in their ratio, not their size.
    if max_weight is None or max_weight == 1 or spread < 0.999 * max_weight**2:
        largest = f"The largest weight by density is {spread:.1f} times the smallest."
        return Finding("capped", "ok", "Weights by density are within their limit", largest)
    at_cap = occupied & np.isclose(weights, weights[occupied].max(), rtol=1e-3)
    at_floor = occupied & np.isclose(weights, weights[occupied].min(), rtol=1e-3)
    up, down = density[at_cap].sum() / density.sum(), density[at_floor].sum() / density.sum()
    much = up + down > 0.9
    return Finding(
        "capped",
        "info",
        "Weights by density at their limit",
        f"{up:.0%} of the samples have the largest weight by density and {down:.0%} the smallest: "
        f"the ratio of the two is held at {max_weight**2:g}, the square of max_weight.",
        "Nearly all samples are at one of the two ends: raise max_weight to tell them apart, or "
        "lower density_exponent."
        if much
        else "",
    )


def crowded(density: np.ndarray) -> Finding:
    """Nearly all samples are learned.

    Args:
        density: Samples per bin, `(bins,)`.
    """
    easy = share_below(density, EASY)
    if easy < 0.95:
        return Finding(
            "crowded", "ok", "There is still something to learn", f"{easy:.0%} are easier than 0.1."
        )
    return Finding(
        "crowded",
        "info",
        "Nearly everything is learned",
        f"{easy:.0%} of the training samples are easier than {EASY}.",
        "More epochs will mostly memorise what is left: compare with the validation metrics, and "
        "stop early or add augmentation.",
    )


def not_balanced(balanced: bool) -> Finding:
    """Whether the model is only observed.

    Args:
        balanced: Whether the model trains on balanced gradients.
    """
    if balanced:
        return Finding("not_balanced", "ok", "Gradients are balanced", "The model trains on them.")
    return Finding(
        "not_balanced",
        "info",
        "Observed, not balanced",
        "This model trains with a plain loss; its gradients are only shown.",
        "Compile a gb_keras.GradientBalancedModel with gb_keras.GradientBalancedLoss to balance "
        "them, and compare the two runs here.",
    )
