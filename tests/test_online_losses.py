import keras
import numpy as np
import pytest
import tensorflow as tf

from gb_keras import GradientBalancedLoss, baselines
from gb_keras.callbacks import GradientBalanceTensorBoard
from tests.gradients import differentiated
from tests.reference import softmax
from tests.replicas import two_replicas

# Class 3 never comes; class 0 in each batch.
BATCHES = [np.array([0, 0, 1, 0]), np.array([0, 2, 0, 1]), np.array([0, 0, 0, 0])]
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 4)).astype("float32") * 2
LOSSES = {"equalization_v2": baselines.EqualizationLossV2, "seesaw": baselines.SeesawLoss}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equalization_v2(batches, logits):
    """Losses, gradients and state after each batch, in float64, from the paper's formulas."""
    positive, negative = np.zeros(4), np.zeros(4)
    for step, (labels, z) in enumerate(zip(batches, logits.astype("float64"), strict=True)):
        yes = np.eye(4)[labels]
        no_weight, yes_weight = np.ones(4), np.ones(4)
        if step > 0:
            no_weight = sigmoid(12 * (positive / negative - 0.8))
            yes_weight = 1 + 4 * (1 - no_weight)
        weights = yes * yes_weight + (1 - yes) * no_weight
        losses = -weights * (yes * np.log(sigmoid(z)) + (1 - yes) * np.log(1 - sigmoid(z)))
        gradients = weights * (sigmoid(z) - yes)
        positive = positive + (np.abs(gradients) * yes).sum(axis=0)
        negative = negative + (np.abs(gradients) * (1 - yes)).sum(axis=0)
        state = {"positive_gradients": positive, "negative_gradients": negative}
        yield losses.sum(axis=1).mean(), gradients / len(labels), state


def seesaw(batches, logits):
    counts = np.zeros(4)
    for labels, z in zip(batches, logits.astype("float64"), strict=True):
        seen, p = np.maximum(counts, 1), softmax(z)
        factors = np.ones((4, 4))
        for i, y in enumerate(labels):
            for j in range(4):
                mitigation = (seen[j] / seen[y]) ** 0.8 if seen[j] < seen[y] else 1
                wrong = p[i, j] / max(p[i, y], 0.01)
                compensation = wrong**2 if wrong > 1 else 1
                factors[i, j] = mitigation * compensation if j != y else 1
        terms = factors * np.exp(z)
        shares = terms / terms.sum(axis=1, keepdims=True)
        counts = counts + np.bincount(labels, minlength=4)
        losses = -np.log(shares[np.arange(4), labels])
        # `factors` are constants to the gradient.
        yield losses.mean(), (shares - np.eye(4)[labels]) / 4, {"class_counts": counts}


REFERENCES = {"equalization_v2": equalization_v2, "seesaw": seesaw}


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_gradients_and_state_follow_the_papers(name, mode):
    loss = LOSSES[name](4)
    step = differentiated(loss, mode)
    references = REFERENCES[name](BATCHES, LOGITS)
    for labels, z, (value, gradient, state) in zip(BATCHES, LOGITS, references, strict=True):
        got, slope = step(tf.constant(labels), tf.constant(z))
        np.testing.assert_allclose(got, value, rtol=1e-4)
        np.testing.assert_allclose(slope, gradient, rtol=1e-3, atol=1e-6)
        for key, expected in state.items():
            np.testing.assert_allclose(loss.get_state()[key], expected, rtol=1e-4)


def test_equalization_by_hand():
    # Logits 0: every gradient is 1/2. Labels 0, 0, 1: class 0 has "yes" 2/2 and "no" 1/2, class 1
    # the other way round. Ratios 2 and 1/2: f = sigmoid(14.4) and sigmoid(-3.6) = 0.0266.
    loss = baselines.EqualizationLossV2(2)
    differentiated(loss)(tf.constant([0, 0, 1]), tf.zeros((3, 2)))
    assert loss.get_state() == {"positive_gradients": [1, 0.5], "negative_gradients": [0.5, 1]}
    no, yes = loss.class_weights()
    np.testing.assert_allclose(no, [1.0, 0.0266], atol=1e-4)
    np.testing.assert_allclose(yes, [1.0, 1 + 4 * 0.9734], atol=1e-3)
    # Label 1 with logits 0: "no" to class 0 and "yes" to class 1, each log(2).
    np.testing.assert_allclose(loss([1], [[0.0, 0.0]]), (1.0 + 4.8936) * np.log(2), rtol=1e-4)


def test_seesaw_by_hand():
    loss = baselines.SeesawLoss(2)
    loss.set_state({"class_counts": [32.0, 1.0]})
    # A frequent label, and the rare class not above it: mitigation 32^-0.8 = 1/16 alone.
    np.testing.assert_allclose(loss([0], [[0.0, 0.0]]), np.log(1 + 1 / 16), rtol=1e-5)
    # The rare class three times as probable: compensation 9 on top.
    z = [[0.0, np.log(3.0)]]
    np.testing.assert_allclose(loss([0], z), np.log(1 + 9 / 16 * 3), rtol=1e-5)
    # A rare label: neither, however wrong the frequent class loses.
    np.testing.assert_allclose(loss([1], z), np.log(1 + 1 / 3), rtol=1e-5)


def test_corners():
    z, labels = LOGITS[0], BATCHES[1]
    plain = -np.log(softmax(z)[np.arange(4), labels]).mean()
    neutral = baselines.SeesawLoss(4, p=0, q=0)
    neutral.set_state({"class_counts": [100.0, 10.0, 1.0, 0.0]})
    np.testing.assert_allclose(neutral(labels, z), plain, rtol=1e-5)
    # A threshold far below every ratio: "no" and "yes" count 1, one sigmoid for each class.
    neutral = baselines.EqualizationLossV2(4, mu=-10)
    neutral.set_state({"positive_gradients": [0.0] * 4, "negative_gradients": [5.0] * 4})
    sigmoids = keras.losses.BinaryCrossentropy(from_logits=True)(np.eye(4)[labels], z)
    np.testing.assert_allclose(neutral(labels, z), 4 * sigmoids, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_reduction_shapes_and_types(name):
    loss = LOSSES[name](4, reduction="none")
    flat = loss(BATCHES[1], LOGITS[0])
    assert flat.shape == (4,)
    np.testing.assert_array_equal(loss(BATCHES[1][:, np.newaxis], LOGITS[0]), flat)
    shaped = loss(BATCHES[1].reshape(2, 2), LOGITS[0].reshape(2, 2, 4))
    np.testing.assert_allclose(np.ravel(shaped), flat, rtol=1e-6)
    assert LOSSES[name](4, dtype="float64")(BATCHES[1], LOGITS[0]).dtype == tf.float64
    with pytest.raises(ValueError, match="logits of 4 classes"):
        loss(BATCHES[0], LOGITS[0][:, :3])


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_are_finite(name):
    loss = LOSSES[name](2)
    step = differentiated(loss, "graph")
    for _ in range(2):
        value, slope = step(tf.constant([0, 0]), tf.constant([[300.0, 0.0], [-300.0, 300.0]]))
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    assert np.isfinite(list(loss.get_state().values())).all()


def compiled(loss, jit_compile=False):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=jit_compile)
    return model


X = np.random.default_rng(1).normal(size=(12, 5)).astype("float32")
Y = np.concatenate(BATCHES)
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_training_moves_the_state_on_and_validation_does_not(name, jit_compile, tmp_path):
    alone = compiled(LOSSES[name](4), jit_compile)
    alone.fit(X, Y, epochs=2, **FIT)
    watched = compiled(LOSSES[name](4), jit_compile)
    callbacks = [GradientBalanceTensorBoard(tmp_path)]
    with pytest.warns(UserWarning, match="Nothing is observed"):
        watched.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=callbacks, **FIT)
    watched.evaluate(X, Y, verbose=0)
    watched.predict(X, verbose=0)
    assert watched.loss.get_state() == alone.loss.get_state()
    np.testing.assert_array_equal(watched.get_weights()[0], alone.get_weights()[0])
    if name == "seesaw":
        assert alone.loss.get_state() == {"class_counts": [18, 4, 2, 0]}


@pytest.mark.parametrize("name", LOSSES)
def test_a_saved_model_goes_on_as_if_it_had_not_been_saved(name, tmp_path):
    model = compiled(LOSSES[name](4))
    model.fit(X, Y, epochs=1, **FIT)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert restored.loss.get_state() == model.loss.get_state()
    for each in (model, restored):
        each.fit(X, Y, epochs=1, **FIT)
    assert restored.loss.get_state() == model.loss.get_state()
    np.testing.assert_array_equal(restored.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("name", LOSSES)
def test_two_replicas_see_what_one_sees(name):
    single = compiled(LOSSES[name](4))
    with two_replicas().scope():
        replicated = compiled(LOSSES[name](4))
    for model in (single, replicated):
        model.fit(X, Y, epochs=2, **FIT)
    for key, values in single.loss.get_state().items():
        np.testing.assert_allclose(replicated.loss.get_state()[key], values, rtol=1e-5)
    np.testing.assert_allclose(
        replicated.get_weights()[0], single.get_weights()[0], rtol=1e-4, atol=1e-6
    )


def test_losses_survive_their_config():
    made = (
        baselines.EqualizationLossV2(4, gamma=3, mu=0.5, alpha=2, name="mine", dtype="float64"),
        baselines.SeesawLoss(4, p=0.3, q=1, name="mine", dtype="float64", reduction="sum"),
    )
    for loss in made:
        differentiated(loss)(tf.constant(BATCHES[1]), tf.constant(LOGITS[1]))
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert type(again) is type(loss)
        assert again.get_config() == loss.get_config()
        np.testing.assert_allclose(again(BATCHES[0], LOGITS[0]), loss(BATCHES[0], LOGITS[0]))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_balance_leaves_them_alone(name):
    """Reading its gradient would move the state of such a loss on."""
    with pytest.raises(ValueError, match="from_logits"):
        GradientBalancedLoss(LOSSES[name](4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: baselines.SeesawLoss(1), "num_classes of at least 2"),
        (lambda: baselines.SeesawLoss(3, p=-1), "p and q of at least 0"),
        (lambda: baselines.SeesawLoss(3, q=-1), "p and q of at least 0"),
        (lambda: baselines.EqualizationLossV2(0), "num_classes of at least 2"),
        (lambda: baselines.EqualizationLossV2(3, gamma=0), "gamma above 0"),
        (lambda: baselines.EqualizationLossV2(3, alpha=-1), "alpha of at least 0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
