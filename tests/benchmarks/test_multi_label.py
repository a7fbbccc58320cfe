"""Multi-label training with missing and with unknown labels in the learning benchmark."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.learning import regimes, suites, tables, trial
from benchmarks.learning.incomplete_labels import known_entries, missing_positives
from benchmarks.learning.mosaics import long_tailed_shares, mosaics
from benchmarks.learning.report import markdown, page
from gb_keras.stages import multi_label_methods

MISSING, UNKNOWN = "mosaics-lt10-missing50", "mosaics-lt10-unknown50"


@pytest.fixture(scope="module")
def task():
    return regimes.load(regimes.REGIMES[MISSING], 0)


def test_labels_are_the_classes_drawn():
    """Each image is filled with its class and its number, so that cells can be read back."""
    labels = np.repeat(np.arange(5), 3)
    values = 10 * (labels + 1) + np.tile(np.arange(3), 5)
    images = np.tile(values.astype("uint8")[:, None, None, None], (1, 4, 6, 1))
    generator = np.random.default_rng(0)
    drawn, present = mosaics(images, labels, 4000, long_tailed_shares(5, 10), generator)
    assert (drawn.shape, drawn.dtype) == ((4000, 8, 12, 1), np.uint8)
    cells = drawn.reshape(4000, 2, 4, 2, 6).swapaxes(2, 3).reshape(4000, 4, 24)
    assert (cells == cells[..., :1]).all()
    cells = cells[..., 0]
    for index in range(5):
        np.testing.assert_array_equal(present[:, index], (cells // 10 == index + 1).any(axis=1))
    # One to four images, each number and each cell as often, any image of a class.
    assert np.bincount((cells > 0).sum(axis=1)) / 4000 == pytest.approx(
        [0, 0.25, 0.25, 0.25, 0.25], abs=0.02
    )
    assert (cells > 0).mean(axis=0) == pytest.approx(2.5 / 4, abs=0.02)
    assert set(np.unique(cells)) == {0, *values}
    of_classes = np.bincount(cells[cells > 0] // 10 - 1)
    assert of_classes[0] / of_classes[4] == pytest.approx(10, rel=0.1)
    # A class may be there twice.
    assert (present.sum(axis=1) < (cells > 0).sum(axis=1)).any()


def test_no_image_is_in_two_splits(task):
    def tiles(split):
        cells = split.images.reshape(-1, 2, 28, 2, 28).swapaxes(2, 3).reshape(-1, 784)
        return {cell.tobytes() for cell in cells if cell.any()}

    train, validation, test = (tiles(each) for each in (task.train, task.validation, task.test))
    assert len(train | validation | test) == len(train) + len(validation) + len(test)
    assert [len(each) for each in (task.train, task.validation, task.test)] == [4000, 1000, 2000]
    assert task.train.images.shape[1:] == (56, 56, 1)


def test_half_of_the_positives_are_missing_in_training_alone(task):
    whole = regimes.load(dataclasses.replace(regimes.REGIMES[MISSING], missing=0), 0)
    np.testing.assert_array_equal(task.train.images, whole.train.images)
    assert (task.train.labels <= whole.train.labels).all()
    assert task.train.labels.sum() == round(whole.train.labels.sum() / 2)
    assert task.train.known is None
    for split in ("validation", "test"):
        np.testing.assert_array_equal(getattr(task, split).labels, getattr(whole, split).labels)
    frequency = whole.train.labels.mean(axis=0)
    assert 7 < frequency[0] / frequency[9] < 10
    assert np.ptp(task.test.labels.mean(axis=0)) < 0.06


def test_half_of_all_entries_are_unknown():
    task = regimes.load(regimes.REGIMES[UNKNOWN], 0)
    whole = regimes.load(dataclasses.replace(regimes.REGIMES[UNKNOWN], unknown=0), 0)
    np.testing.assert_array_equal(task.train.labels, whole.train.labels)
    assert task.train.known.mean() == 0.5
    assert (task.test.known, task.validation.known) == (None, None)
    negatives, positives = task.class_counts
    np.testing.assert_array_equal(negatives + positives, task.train.known.sum(axis=0))
    np.testing.assert_array_equal(positives, (task.train.known * task.train.labels).sum(axis=0))


def test_equal_seeds_are_equal_tasks_and_others_are_not(task):
    again, other = (regimes.load(regimes.REGIMES[MISSING], seed) for seed in (0, 1))
    np.testing.assert_array_equal(task.train.images, again.train.images)
    np.testing.assert_array_equal(task.train.labels, again.train.labels)
    assert task.train.images.tobytes() != other.train.images.tobytes()


def test_what_is_incomplete_is_drawn_by_the_generator():
    labels = np.eye(10, dtype="float32")
    drawn = [missing_positives(labels, 0.3, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert [each.sum() for each in drawn] == [7, 7, 7]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert labels.sum() == 10
    assert known_entries((10, 10), 0.3, np.random.default_rng(0)).sum() == 70


def test_noise_of_another_kind_of_label_is_refused():
    with pytest.raises(ValueError, match="missing or unknown of mosaics"):
        regimes.Regime("digits", missing=0.5)
    with pytest.raises(ValueError, match="missing or unknown of mosaics"):
        regimes.Regime("digits", mosaics=True, noise=0.5)


def test_a_method_that_the_regime_does_not_have_is_refused():
    with pytest.raises(ValueError, match=f"method of {MISSING} to be one of cross_entropy"):
        trial.Trial(MISSING, "mlp", "seesaw", 0)
    with pytest.raises(ValueError, match="'asymmetric'"):
        trial.Trial("digits", "mlp", "asymmetric", 0)


def test_the_suites_hold_both_networks():
    for suite in ("multi_label", "full"):
        found = {each.cell for each in suites.trials(suite, 1)}
        for regime in (MISSING, UNKNOWN):
            for network in trial.EPOCHS:
                assert (regime, network, "asymmetric") in found
    assert not any(each.regime == MISSING for each in suites.trials("glyphs", 1))


@pytest.fixture
def small(monkeypatch):
    """The regimes' smaller sisters: fewer mosaics, of 8 x 8 digits."""
    monkeypatch.setattr(regimes, "NUM_MOSAICS", (1280, 200, 400))
    for name in (MISSING, UNKNOWN):
        sister = dataclasses.replace(regimes.REGIMES[name], data="digits", epochs=4)
        monkeypatch.setitem(regimes.REGIMES, name, sister)


@pytest.mark.parametrize("name", [MISSING, UNKNOWN])
def test_trials_are_run_and_reported(name, small):
    methods = ("cross_entropy", "gradient_balanced")
    found = [trial.run(trial.Trial(name, "mlp", method, 0)) for method in methods]
    for record in found:
        json.dumps(record, allow_nan=False)
        assert record["final"]["mean_average_precision"] > 0.3
        assert 0.5 < record["final"]["balanced_accuracy"] < 1
        assert {len(curve) for curve in record["curves"].values()} == {4}
    # A network of one label beside it: each table has the columns that were measured.
    single = {"accuracy", "balanced_accuracy", "negative_log_likelihood"}
    values = dict.fromkeys(single, 0.9) | {
        "expected_calibration_error": 0.1,
        "few_shot_recall": None,
    }
    for record, method in zip(tuple(found), methods, strict=True):
        other = {"regime": "digits", "final": values, "best": values}
        found.append({**record, **other, "key": f"digits/mlp/{method}/0"})
    text = markdown(tables.results(found))
    heading = "### Mean average precision %, last epoch\n\n"
    assert heading + f"| method | {name}, mlp |\n" in text
    assert f"| method | {name}, mlp | digits, mlp |" in text
    assert "the best single peer, multi-label regimes" in text
    assert "the best single peer, single-label regimes" in text
    html = page(tables.results(found))
    assert "Mean average precision" in html
    # Nobody has shots to tell apart.
    assert html.count("<svg") == 2


def test_the_small_cnn_sees_mosaics_at_half_size(task):
    method = multi_label_methods.method("cross_entropy", task.class_counts)
    model = trial._model(trial.Trial(MISSING, "small_cnn", "cross_entropy", 0), task, method, 1)
    assert model.input_shape == (None, 56, 56, 1)
    assert model.layers[-1].input_shape == (None, 28, 28, 1)
    assert model(task.test.images[:2].astype("float32")).shape == (2, 10)


def test_unknown_entries_have_no_say(small, monkeypatch):
    """Whatever is recorded where the label is unknown, the same is learned."""
    load = regimes.load

    def turned(regime, seed):
        task = load(regime, seed)
        labels = np.where(task.train.known, task.train.labels, 1 - task.train.labels)
        train = dataclasses.replace(task.train, labels=labels)
        return dataclasses.replace(task, train=train)

    each = trial.Trial(UNKNOWN, "mlp", "gradient_balanced", 0)
    first = trial.run(each)["final"]
    monkeypatch.setattr(regimes, "load", turned)
    assert trial.run(each)["final"] == first


def test_a_peer_of_one_kind_is_the_best_of_its_kind():
    def record(regime, method, value):
        values = {"balanced_accuracy": value}
        return {
            "regime": regime,
            "network": "mlp",
            "method": method,
            "label": method,
            "seed": 0,
            "final": values,
            "curves": values,
        }

    found = tables.results(
        [
            record("digits", "gradient_balanced", 0.9),
            record("digits", "cross_entropy", 0.7),
            record("digits", "seesaw", 0.8),
            record(MISSING, "gradient_balanced", 0.9),
            record(MISSING, "cross_entropy", 0.6),
            record(MISSING, "asymmetric", 0.7),
        ]
    )
    best = {
        kind: tables.best_single_peer(found, columns) for kind, columns in found.by_kind().items()
    }
    assert best == {"single-label": "seesaw", "multi-label": "asymmetric"}
