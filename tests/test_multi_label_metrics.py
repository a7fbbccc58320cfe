import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from gb_keras.multi_label_metrics import MultiLabelAccuracy, MultiLabelBalancedAccuracy


@pytest.fixture
def batches():
    generator = np.random.default_rng(0)
    return [
        (
            generator.integers(0, 2, (n, 4)).astype("float32"),
            generator.normal(size=(n, 4)).astype("float32"),
            (generator.random((n, 4)) < 0.7).astype("float32"),
        )
        for n in (7, 9)
    ]


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_same_as_scikit_learn(batches, eagerly, weighted):
    accuracy, balanced = MultiLabelAccuracy(), MultiLabelBalancedAccuracy()
    for metric in (accuracy, balanced):
        update = metric.update_state if eagerly else tf.function(metric.update_state)
        metric.update_state(*batches[0][:2])  # Makes the variables.
        metric.reset_state()
        for labels, logits, known in batches:
            update(labels, logits, sample_weight=known if weighted else None)
    labels, logits, known = (np.concatenate(each) for each in zip(*batches, strict=True))
    known = known > 0 if weighted else np.ones(known.shape, bool)
    predicted = logits > 0
    assert float(accuracy.result()) == pytest.approx((labels == predicted)[known].mean())
    by_class = [
        sklearn.metrics.balanced_accuracy_score(labels[mine, c], predicted[mine, c])
        for c, mine in enumerate(known.T)
    ]
    assert float(balanced.result()) == pytest.approx(np.mean(by_class))


def test_a_class_without_both_signs_is_left_out():
    metric = MultiLabelBalancedAccuracy()
    assert float(metric.result()) == 0
    metric.update_state([[1, 0], [1, 1]], [[1.0, -1], [1, -1]])
    assert float(metric.result()) == 0.5
    metric.reset_state()
    assert float(metric.result()) == 0


def test_probabilities_and_weights_of_images():
    labels, probabilities = [[1, 0], [1, 0]], [[0.6, 0.6], [0.4, 0.4]]
    metric = MultiLabelAccuracy(from_logits=False)
    metric.update_state(labels, probabilities, sample_weight=[3.0, 1.0])
    assert float(metric.result()) == 0.5
    metric.update_state(labels, [[0.9, 0.1]] * 2)
    assert float(metric.result()) == pytest.approx((4 + 4) / 12)


@pytest.mark.parametrize("metric", [MultiLabelAccuracy, MultiLabelBalancedAccuracy])
def test_rebuilt_from_its_configuration(metric):
    again = keras.metrics.deserialize(keras.metrics.serialize(metric(from_logits=False)))
    assert type(again) is metric
    assert not again.from_logits
