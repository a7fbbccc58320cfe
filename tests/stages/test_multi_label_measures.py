import json

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from gb_keras.stages.multi_label_measures import METRICS, Entries, measure, metrics


def test_metrics_are_those_computed_by_hand():
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    probabilities = np.array([[0.8, 0.2], [0.4, 0.2], [0.6, 0.8], [0.2, 0.2]])
    logits = np.log(probabilities / (1 - probabilities))
    entries = Entries.of_batches([(labels, logits, None)])
    found = metrics(entries, ["many", "few"])
    # Wrong are the 0.4 and 0.6 of the first class and the 0.2 of the second image.
    assert found["accuracy"] == 5 / 8
    # Recalls of positives and negatives: 1/2 and 1/2; 1/2 and 1.
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 0.75) / 2)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Probability of the right answer: 0.8 five times, 0.4 twice, 0.2.
    right = [0.8] * 5 + [0.4] * 2 + [0.2]
    assert found["negative_log_likelihood"] == pytest.approx(-np.log(right).mean())
    # Six entries of confidence 0.8, five right; two of confidence 0.6, none right.
    gap = abs(5 - 6 * 0.8) + 2 * 0.6
    assert found["expected_calibration_error"] == pytest.approx(gap / 8, abs=1e-6)
    # First class: right first, third; precision 1 and 2/3. Second: right first, then a tie of
    # three, precision 1 and 2/4.
    assert found["mean_average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 4) / 2) / 2)
    assert found["many_shot_average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["few_shot_average_precision"] == pytest.approx(3 / 4)
    assert found["medium_shot_average_precision"] is None
    # One of two, and of two, is found before precision falls below 0.9.
    assert found["mean_recall_at_90_precision"] == 0.5


def test_only_known_entries_count():
    """Whatever stands where the label is unknown, the measures are those of the known entries."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (40, 3))
    logits = generator.normal(size=(40, 3))
    known = generator.random((40, 3)) < 0.5
    found = []
    for unknown in (0, 1):
        filled = np.where(known, labels, unknown)
        wild = np.where(known, logits, 50.0 - 100 * unknown)
        entries = Entries.of_batches(
            [
                (filled[:25], wild[:25], known[:25].astype("float32")),
                (filled[25:], wild[25:], known[25:].astype("float32")),
            ]
        )
        assert entries.num_images == 40
        found.append(measure(entries, "abc", [9, 9, 9], ["few"] * 3))
    assert found[0] == found[1]
    for index, row in enumerate(found[0]["per_class"]):
        mine = known[:, index]
        of_class = labels[mine, index], logits[mine, index]
        reference = sklearn.metrics.average_precision_score(*of_class)
        assert row["average_precision"] == pytest.approx(reference)
        assert row["test_count"] == labels[mine, index].sum()
        assert row["test_absent_count"] == (1 - labels[mine, index]).sum()


# The first example waits for operations to be compiled.
@settings(deadline=None)
@given(
    data=st.data(),
    num_images=st.integers(1, 30),
    num_classes=st.integers(2, 5),
)
def test_the_same_as_scikit_learn_computes(data, num_images, num_classes):
    shape = (num_images, num_classes)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    labels = generator.integers(0, 2, shape)
    # Some ties.
    logits = np.round(generator.normal(size=shape), 1) + 0.05
    entries = Entries.of_batches([(labels, logits, None)])
    found = metrics(entries, ["many"] * num_classes)
    assert list(found) == list(METRICS)
    both = [c for c in range(num_classes) if 0 < labels[:, c].sum() < num_images]
    predicted = logits > 0
    if both:
        reference = sklearn.metrics.average_precision_score(labels[:, both], logits[:, both])
        assert found["mean_average_precision"] == pytest.approx(reference)
        assert found["many_shot_average_precision"] == pytest.approx(reference)
        balanced = [
            sklearn.metrics.balanced_accuracy_score(labels[:, c], predicted[:, c]) for c in both
        ]
        assert found["balanced_accuracy"] == pytest.approx(np.mean(balanced))
    else:
        assert found["mean_average_precision"] is None
        assert found["balanced_accuracy"] is None
    shown = [c for c in range(num_classes) if labels[:, c].any()]
    if shown:
        f1 = np.mean(
            [
                sklearn.metrics.f1_score(labels[:, c], predicted[:, c], zero_division=0)
                for c in shown
            ]
        )
        assert found["macro_f1"] == pytest.approx(f1)
    if 0 < labels.sum() < labels.size:
        micro = sklearn.metrics.average_precision_score(labels, logits, average="micro")
        assert found["micro_average_precision"] == pytest.approx(micro)
    assert found["accuracy"] == pytest.approx((labels == predicted).mean())
    json.dumps(
        measure(entries, "abcde"[:num_classes], [1] * num_classes, ["few"] * num_classes),
        allow_nan=False,
    )


def test_a_class_with_positives_alone_has_no_average_precision():
    labels = np.array([[1, 1], [1, 0], [1, 1]])
    entries = Entries.of_batches([(labels, np.array([[1.0, 1], [2, 2], [3, 3]]), None)])
    found = measure(entries, ["always", "often"], [3, 2], ["few", "few"])
    always, often = found["per_class"]
    assert always["average_precision"] is None
    assert always["recall"] == 1
    # Ranked first, third: 1 and 2/3.
    assert often["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["metrics"]["mean_average_precision"] == often["average_precision"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_told(bad):
    logits = np.array([[1.0, bad], [0.0, 0.0]])
    found = measure(Entries.of_batches([(np.eye(2), logits, None)]), "ab", [1, 1], ["few"] * 2)
    assert set(found["metrics"].values()) == {None}
    assert "1 of 4 labels" in found["warnings"][0]
    assert found["per_class"][0]["average_precision"] is None
    json.dumps(found, allow_nan=False)


def test_many_classes_of_which_few_are_known_fit_in_memory():
    """20,000 classes, 8 labels of an image known: no table of images and classes is made."""
    generator = np.random.default_rng(0)

    def batches():
        for _ in range(20):
            labels = np.zeros((32, 20_000), "float32")
            weights = np.zeros((32, 20_000), "float32")
            for row in range(32):
                asked = generator.integers(0, 20_000, 8)
                weights[row, asked] = 1
                labels[row, asked[:4]] = 1
            yield labels, generator.normal(size=labels.shape).astype("float32"), weights

    entries = Entries.of_batches(batches())
    assert entries.num_images == 640
    assert len(entries.logits) <= 640 * 8
    found = measure(entries, [str(c) for c in range(20_000)], [1] * 20_000, ["few"] * 20_000)
    assert found["metrics"]["micro_average_precision"] == pytest.approx(0.5, abs=0.05)
