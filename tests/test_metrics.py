"""Metrics: equal to scikit-learn and NumPy, in every way that Keras runs a metric."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from gb_keras.metrics import BalancedAccuracy, ExpectedCalibrationError, ShotRecall, shots
from tests.replicas import two_replicas

ALL = [
    pytest.param(BalancedAccuracy, id="balanced_accuracy"),
    pytest.param(lambda: ShotRecall([900, 50, 3, 2], "few"), id="few_shot_recall"),
    pytest.param(ExpectedCalibrationError, id="expected_calibration_error"),
]


def numpy_ece(labels, probabilities, num_bins, weights=None):
    """Guo et al., equations 2 to 4, one bin after the other."""
    confidence = probabilities.max(axis=-1).ravel()
    correct = (probabilities.argmax(axis=-1) == labels).ravel()
    weights = np.ones_like(confidence) if weights is None else weights
    error = 0.0
    for m in range(num_bins):
        inside = (confidence > m / num_bins) & (confidence <= (m + 1) / num_bins)
        if weights[inside].sum() > 0:
            accuracy = np.average(correct[inside], weights=weights[inside])
            mean_confidence = np.average(confidence[inside], weights=weights[inside])
            error += weights[inside].sum() / weights.sum() * abs(accuracy - mean_confidence)
    return error


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def batches(num_batches=3, size=40, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (
            rng.choice(num_classes, size, p=[0.7, 0.2, 0.06, 0.04]),
            rng.normal(size=(size, num_classes)).astype("float32"),
        )
        for _ in range(num_batches)
    ]


def joined(parts):
    return np.concatenate([y for y, _ in parts]), np.concatenate([z for _, z in parts])


def test_balanced_accuracy_by_hand():
    # Class 0: 2 of 3 right; class 1: 0 of 1; class 2: never seen, so it takes no part.
    predictions = np.eye(3)[[0, 0, 1, 2]]
    metric = BalancedAccuracy()
    metric.update_state(np.array([0, 0, 0, 1]), predictions)
    assert float(metric.result()) == pytest.approx((2 / 3 + 0) / 2)


def test_balanced_accuracy_over_batches_is_that_of_all_data():
    metric = BalancedAccuracy()
    parts = batches()
    for labels, logits in parts:
        metric.update_state(labels, logits)
    labels, logits = joined(parts)
    expected = balanced_accuracy_score(labels, logits.argmax(axis=-1))
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_balanced_accuracy_equals_scikit_learn(data):
    num_classes = data.draw(st.integers(2, 6))
    classes = st.integers(0, num_classes - 1)
    rows = data.draw(
        st.lists(st.tuples(classes, classes, st.integers(0, 5)), min_size=1, max_size=30)
    )
    labels, predicted, weights = np.array(rows).T
    if weights.sum() == 0:
        weights[0] = 1
    cut = data.draw(st.integers(0, len(rows) - 1))
    metric = BalancedAccuracy()
    for part in (slice(0, cut), slice(cut, None)):
        metric.update_state(labels[part], np.eye(num_classes)[predicted[part]], weights[part])
    expected = balanced_accuracy_score(
        labels[weights > 0], predicted[weights > 0], sample_weight=weights[weights > 0]
    )
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_shots_have_the_boundaries_of_the_paper():
    assert shots([101, 100, 20, 19, 0]) == ["many", "medium", "medium", "few", "few"]


def test_shot_recall_is_the_mean_of_the_recalls_of_its_classes():
    counts = [1000, 50, 10, 5]
    labels, logits = joined(batches(size=100))
    recalls = recall_score(labels, logits.argmax(axis=-1), average=None)
    for shot, classes in {"many": [0], "medium": [1], "few": [2, 3]}.items():
        metric = ShotRecall(counts, shot)
        metric.update_state(labels, logits)
        assert float(metric.result()) == pytest.approx(recalls[classes].mean(), abs=1e-6)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_calibration_error_over_batches_equals_numpy(num_bins):
    metric = ExpectedCalibrationError(num_bins)
    parts = batches(size=100)
    for labels, logits in parts:
        metric.update_state(labels, logits)
    labels, logits = joined(parts)
    assert float(metric.result()) == pytest.approx(
        numpy_ece(labels, softmax(logits), num_bins), abs=1e-6
    )


def test_calibration_error_by_hand():
    # Bin (0.5, 1] holds 3 predictions: confidence (0.9 + 0.9 + 0.6) / 3 = 0.8, 1 of 3 right.
    # Bin (0, 0.5] holds 1: confidence 0.5, right.  3/4 * |1/3 - 0.8| + 1/4 * |1 - 0.5| = 0.475
    probabilities = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.5, 0.5]]
    metric = ExpectedCalibrationError(num_bins=2, from_logits=False)
    metric.update_state([0, 0, 1, 0], probabilities)
    assert float(metric.result()) == pytest.approx(0.475)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 20.0))
def test_calibration_error_with_weights_equals_numpy_and_is_bounded(seed, scale):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 20)
    logits = (scale * rng.normal(size=(20, 3))).astype("float32")
    weights = rng.integers(1, 4, 20).astype("float32")
    metric = ExpectedCalibrationError()
    metric.update_state(labels, logits, weights)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    result = float(metric.result())
    assert result == pytest.approx(numpy_ece(labels, probabilities, 15, weights), abs=1e-5)
    assert 0 <= result <= 1


@pytest.mark.parametrize("make", ALL)
def test_any_way_to_give_the_same_labels(make):
    labels, logits = batches(1)[0]
    results = []
    for same in (labels, labels[:, np.newaxis], np.eye(4)[labels], labels.astype("float32")):
        metric = make()
        metric.update_state(same, logits)
        results.append(float(metric.result()))
    assert results == [results[0]] * 4


@pytest.mark.parametrize("make", ALL)
def test_leading_dimensions_and_weights_of_samples(make):
    labels, logits = batches(1)[0]
    weights = np.random.default_rng(1).uniform(size=10).astype("float32")
    flat, nested = make(), make()
    flat.update_state(labels, logits, np.repeat(weights, 4))
    nested.update_state(labels.reshape(10, 4), logits.reshape(10, 4, 4), weights)
    assert float(nested.result()) == pytest.approx(float(flat.result()), abs=1e-6)


@pytest.mark.parametrize("make", ALL)
def test_masked_and_negative_labels_take_no_part(make):
    labels, logits = batches(1)[0]
    kept = np.arange(40) % 3 > 0
    expected = make()
    expected.update_state(labels[kept], logits[kept])
    masked, negative = make(), make()
    masked_logits = tf.constant(logits)
    masked_logits._keras_mask = tf.constant(kept)
    masked.update_state(labels, masked_logits)
    negative.update_state(np.where(kept, labels, -1), logits)
    assert float(masked.result()) == pytest.approx(float(expected.result()), abs=1e-6)
    assert float(negative.result()) == pytest.approx(float(expected.result()), abs=1e-6)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_first_update_within_a_graph(make, jit_compile):
    labels, logits = batches(1)[0]
    labels[::5] = -1
    eager, compiled = make(), make()
    eager.update_state(labels, logits)
    tf.function(compiled.update_state, jit_compile=jit_compile)(labels, logits)
    assert float(compiled.result()) == pytest.approx(float(eager.result()), abs=1e-6)


def classifier():
    return keras.Sequential([keras.layers.Dense(4)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 2},
    ],
    ids=str,
)
def test_in_compile_before_the_model_is_built(options):
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    y = np.arange(64) % 4 * (np.arange(64) % 3 > 0)
    model = classifier()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[BalancedAccuracy(), ShotRecall([900, 50, 3, 2], "few")],
        weighted_metrics=[ExpectedCalibrationError()],
        **options,
    )
    history = model.fit(x, y, batch_size=16, validation_data=(x, y), verbose=0).history
    logits = model.predict(x, verbose=0)
    assert history["val_balanced_accuracy"][-1] == pytest.approx(
        balanced_accuracy_score(y, logits.argmax(axis=-1)), abs=1e-6
    )
    assert history["val_expected_calibration_error"][-1] == pytest.approx(
        numpy_ece(y, softmax(logits), 15), abs=1e-5
    )
    assert 0 <= history["val_few_shot_recall"][-1] <= 1


def test_padding_that_keras_masks_takes_no_part():
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 0]])
    labels = np.array([[0, 1, 0, 0], [0, 0, 1, 0]])
    model = keras.Sequential([keras.layers.Embedding(4, 3, mask_zero=True), keras.layers.Dense(2)])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[BalancedAccuracy()],
    )
    result = model.evaluate(tokens, labels, verbose=0, return_dict=True)
    predicted = model.predict(tokens, verbose=0).argmax(axis=-1)
    assert result["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(labels[tokens > 0], predicted[tokens > 0])
    )


def test_counts_stay_exact_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.layers.Dense(2)])
    metric = BalancedAccuracy()
    model.compile(loss="mse", metrics=[metric])
    x = np.zeros((3000, 3), "float32")
    y = np.arange(3000) % 2
    result = model.evaluate(x, y[:, np.newaxis], batch_size=1000, verbose=0, return_dict=True)
    assert result["balanced_accuracy"] == pytest.approx(0.5)
    assert metric.total.dtype == "float32"
    assert metric.total.numpy().tolist() == [1500.0, 1500.0]  # float16 stops at 2,048 in all


def test_replicas_count_the_global_batch():
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    y = np.arange(64) % 4 * (np.arange(64) % 3 > 0)
    strategy = two_replicas()
    with strategy.scope():
        model = classifier()
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[
                BalancedAccuracy(),
                ShotRecall([900, 50, 3, 2], "few"),
                ExpectedCalibrationError(),
            ],
        )
    model.fit(x, y, batch_size=16, verbose=0)
    result = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    recalls = recall_score(y, logits.argmax(axis=-1), average=None)
    assert result["balanced_accuracy"] == pytest.approx(recalls.mean(), abs=1e-6)
    assert result["few_shot_recall"] == pytest.approx(recalls[2:].mean(), abs=1e-6)
    assert result["expected_calibration_error"] == pytest.approx(
        numpy_ece(y, softmax(logits), 15), abs=1e-5
    )


def test_saved_with_the_model(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 5)).astype("float32")
    y = np.arange(32) % 4
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            BalancedAccuracy(),
            ShotRecall([900, 50, 3, 2], "few", many=200, few=10),
            ExpectedCalibrationError(7),
        ],
    )
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(
        model.evaluate(x, y, verbose=0, return_dict=True)
    )


@pytest.mark.parametrize("make", ALL)
def test_config_round_trip(make):
    metric = make()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


@pytest.mark.parametrize("make", ALL)
def test_before_the_first_sample_and_after_a_reset(make):
    metric = make()
    assert float(metric.result()) == 0.0
    metric.reset_state()
    metric.update_state(*batches(1)[0])
    metric.reset_state()
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (np.zeros(3), np.zeros((3, 1)), "at least 2 classes"),
        (np.zeros((3, 5)), np.zeros((3, 4)), "Expected labels of shape"),
    ],
)
def test_shapes_that_fit_no_class(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        BalancedAccuracy().update_state(labels, predictions)


def test_another_number_of_classes():
    metric = BalancedAccuracy()
    metric.update_state([0], [[1.0, 0.0]])
    with pytest.raises(ValueError, match="Expected predictions of 2 classes"):
        metric.update_state([0], [[1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShotRecall([5, 500], "some"), "one of"),
        (lambda: ShotRecall([500, 500], "few"), "at least one few-shot class"),
        (lambda: ShotRecall([500, 500], "few", many=1, few=2), "at most"),
        (lambda: ShotRecall([-1, 500], "few"), "from 0"),
        (lambda: ExpectedCalibrationError(num_bins=0), "at least one bin"),
    ],
)
def test_arguments_that_make_no_metric(make, message):
    with pytest.raises(ValueError, match=message):
        make()
