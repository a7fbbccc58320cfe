"""The cost benchmark: its rivals compute what they should, its counts and tables are right."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from benchmarks.overhead import cases, count, measure, rivals, tables
from benchmarks.overhead.__main__ import app
from gb_keras import baselines

LABELS = np.array([0, 0, 1, 0, 2, 0, 1, 0])
LOGITS = np.random.default_rng(0).normal(size=(8, 4)).astype("float32") * 2


def test_ghm_c_as_published_is_the_corner_of_ours():
    published = rivals.GHMC(momentum=0.0)(LABELS, LOGITS)
    np.testing.assert_allclose(published, baselines.ghm_c()(LABELS, LOGITS), rtol=1e-5)


def test_ghm_c_as_published_forgets_by_its_momentum():
    loss = rivals.GHMC(bins=1, momentum=0.75)
    for _ in range(2):
        loss(LABELS, LOGITS)
    # A quarter of 8, then three quarters of that and a quarter of 8.
    np.testing.assert_allclose(loss.samples, [3.5])


def test_seesaw_as_published_is_that_of_the_library():
    ours = baselines.SeesawLoss(4)
    ours.set_state({"class_counts": np.bincount(LABELS, minlength=4).astype("float32")})
    # Theirs adds 0.01 to each factor.
    np.testing.assert_allclose(rivals.Seesaw(4)(LABELS, LOGITS), ours(LABELS, LOGITS), rtol=0.02)


def tiny(**changes):
    case = cases.Case(
        "tiny", lambda: cases._dense(4, 0, 6), cases._images(5, 4), {"bins": 3}, limit=1.1
    )
    return dataclasses.replace(case, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"rivals": True},
        {"mode": "eager"},
        {"mode": "xla"},
        {"policy": "mixed_bfloat16"},
        {"multi_label": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_variants_are_timed_as_the_case_says(monkeypatch, changes):
    monkeypatch.setitem(cases.CASES, "tiny", tiny(**changes))
    monkeypatch.setattr(measure, "SECONDS_PER_BLOCK", 0.01)
    figures = measure.times("tiny", pairs=2)
    assert set(figures) == {"plain_ms", "balanced", *(measure.RIVALS * bool(changes.get("rivals")))}
    assert figures["plain_ms"] > 0
    assert figures["balanced"]["ratio"] > 0
    model = measure.Runner("tiny", "balanced").model
    assert model.loss.bins == 3
    assert model.run_eagerly == (changes.get("mode") == "eager")
    assert model.jit_compile == (changes.get("mode") == "xla")
    assert model.layers[-1].dtype_policy.name == changes.get("policy", "float32")
    assert keras.config.dtype_policy().name == "float32"


def test_passes_over_samples_and_classes_are_counted(monkeypatch):
    monkeypatch.setitem(cases.CASES, "tiny", tiny())
    plain, balanced = (count.count("tiny", variant) for variant in ("plain", "balanced"))
    # The classifier and its bias, the loss, its gradient by sample and by mean, the gradients of
    # kernel and bias, and what is predicted, for the metric.
    assert 6 <= plain.passes <= 14
    # The margin; the loss without it.
    assert plain.passes + 2 <= balanced.passes <= plain.passes + 6
    assert balanced.operations > plain.operations
    assert balanced.float_operations > plain.float_operations > 2 * 5 * 4 * 6


FIGURES = {
    "mlp": {
        "plain_ms": 1.234,
        "memory_ratio": 1.0,
        "balanced": {"ratio": 1.101, "quartiles": [1.05, 1.2]},
    },
    "classes_1000": {
        "plain_ms": 9.0,
        "memory_ratio": 1.0,
        "balanced": {"ratio": 1.02, "quartiles": [1.0, 1.1]},
        "ghm_c": {"ratio": 1.3, "quartiles": [1.2, 1.4]},
        "seesaw": {"ratio": 1.5, "quartiles": [1.4, 1.6]},
    },
}


def test_tables_say_whether_limits_are_kept():
    assert tables.costs(FIGURES).splitlines()[2:] == [
        "| mlp | 1.23 | 1.101 | 1.050 to 1.200 | 1.10 | **no** | 1.000 |",
        "| classes_1000 | 9.00 | 1.020 | 1.000 to 1.100 |  |  | 1.000 |",
    ]
    assert tables.rivals(FIGURES).splitlines()[2:] == ["| classes_1000 | 1.020 | 1.300 | 1.500 |"]


def test_an_unknown_case_is_refused():
    result = CliRunner().invoke(app, ["run", "--case", "nothing"])
    assert isinstance(result.exception, ValueError)
    assert "mlp" in str(result.exception)


@pytest.mark.parametrize("name", {case.what: name for name, case in cases.CASES.items()}.values())
def test_networks_give_logits_of_their_batch(name):
    case = cases.CASES[name]
    shape = case.inputs(np.random.default_rng(0)).shape
    with tf.Graph().as_default():
        model = case.build()
    assert model.compute_output_shape(shape)[0] == shape[0]


def test_without_a_memory_ratio_its_cell_is_empty():
    figures = {key: value for key, value in FIGURES["mlp"].items() if key != "memory_ratio"}
    assert tables.row("mlp", figures).endswith("|  |")
