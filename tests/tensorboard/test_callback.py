"""The callback: the right steps, once each, whatever else happens to a training."""

import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from tensorboard.util import tensor_util

import gb_keras
from gb_keras.callbacks import GradientBalanceTensorBoard
from gb_keras.tensorboard import history
from tests.replicas import two_replicas

RNG = np.random.default_rng(5)
FEATURES = RNG.normal(0, 1, (40, 6)).astype(np.float32)
LABELS = np.arange(40) % 4


def compiled(cls=gb_keras.GradientBalancedModel, **options):
    inputs = keras.Input((6,))
    model = cls(inputs, keras.layers.Dense(4)(inputs))
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    balanced = cls is gb_keras.GradientBalancedModel
    loss = gb_keras.GradientBalancedLoss(base) if balanced else base
    model.compile("adam", loss=loss, **options)
    return model


def fit(model, *callbacks, **options):
    options = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0, **options}
    return model.fit(FEATURES, LABELS, callbacks=list(callbacks), **options)


def series(log_dir, tag):
    """Steps and values of a tag, in the order in which they are in the files."""
    return [
        (event.step, tensor_util.make_ndarray(value.tensor))
        for event in history.events(log_dir)
        for value in event.summary.value
        if value.tag == tag
    ]


def steps(log_dir, tag="output/density"):
    return [step for step, _ in series(log_dir, tag)]


@pytest.mark.parametrize("cls", [gb_keras.GradientBalancedModel, keras.Model])
@pytest.mark.parametrize(
    ("update_freq", "steps_per_execution", "expected"),
    [
        ("epoch", 1, [10, 20, 30]),
        ("epoch", 4, [10, 20, 30]),
        (1, 1, list(range(1, 31))),
        (4, 1, [4, 8, 10, 12, 16, 20, 24, 28, 30]),
        # Keras tells of the last of the steps that it executes at once.
        (4, 5, [5, 10, 15, 20, 25, 30]),
        # And of more than there are, where these go beyond the end of an epoch.
        (5, 4, [8, 10, 18, 20, 28, 30]),
        (7, 5, [10, 15, 20, 25, 30]),
        (100, 1, [10, 20, 30]),
    ],
)
def test_steps(tmp_path, cls, update_freq, steps_per_execution, expected):
    model = compiled(cls, steps_per_execution=steps_per_execution)
    fit(model, GradientBalanceTensorBoard(tmp_path, update_freq))
    assert steps(tmp_path) == expected


def test_what_is_written_is_what_the_model_has_and_keras_reports(tmp_path):
    model = compiled()
    history = fit(model, GradientBalanceTensorBoard(tmp_path)).history
    histogram = series(tmp_path, "output/histogram")[-1][1]
    np.testing.assert_array_equal(histogram, model.gradient_density.histogram.numpy())
    cells = dict(series(tmp_path, "output/balanced_histogram"))[30]
    weights = dict(series(tmp_path, "output/weights"))[30]
    np.testing.assert_allclose(
        cells.sum(axis=0), histogram.sum(axis=0) * np.nan_to_num(weights), rtol=1e-4
    )
    rate = float(model.gradient_density.noise_rate.numpy())
    assert float(series(tmp_path, "output/noise_rate")[-1][1]) == pytest.approx(rate)
    for name in ("loss", "base_loss"):
        written = [float(value) for _, value in series(tmp_path, f"output/{name}")]
        np.testing.assert_allclose(written, history[name], rtol=1e-6)


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("update_freq", ["epoch", 3, 5])
def test_recalls_are_those_of_the_validation(tmp_path, validation, update_freq):
    model = compiled(metrics=[gb_keras.metrics.BalancedAccuracy()])
    options = {"validation_data": (FEATURES[:8], LABELS[:8])} if validation else {}
    fit(model, GradientBalanceTensorBoard(tmp_path, update_freq), epochs=2, **options)
    found = series(tmp_path, "output/recalls")
    assert [step for step, _ in found] == [10, 20]
    if validation:
        hits = model.predict(FEATURES[:8], verbose=0).argmax(1) == LABELS[:8]
        expected = [hits[LABELS[:8] == label].mean() for label in range(4)]
        np.testing.assert_allclose(found[-1][1], expected)


def test_training_is_the_same_with_it(tmp_path):
    weights = []
    for callbacks in ([], [GradientBalanceTensorBoard(tmp_path, update_freq=1)]):
        keras.utils.set_random_seed(2)
        model = compiled()
        fit(model, *callbacks)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_second_fit_goes_on_and_a_new_model_begins_anew(tmp_path):
    model = compiled()
    fit(model, GradientBalanceTensorBoard(tmp_path), epochs=1)
    fit(model, GradientBalanceTensorBoard(tmp_path), epochs=2)
    assert steps(tmp_path) == [10, 20, 30]
    fit(compiled(), GradientBalanceTensorBoard(tmp_path), epochs=1)
    assert steps(tmp_path) == [10, 20, 30, 10]


def test_names_are_written_once(tmp_path):
    model = compiled()
    for _ in range(2):
        fit(model, GradientBalanceTensorBoard(tmp_path, class_names=list("abcd")), epochs=2)
    [(step, names)] = series(tmp_path, "output/class_names")
    assert step == 0
    assert [name.decode() for name in names] == list("abcd")


KILLED = """
import os, signal, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from tests.tensorboard.test_callback import *

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

keras.utils.set_random_seed(3)
model = compiled()
backup = keras.callbacks.BackupAndRestore(sys.argv[1] + "_backup")
callback = GradientBalanceTensorBoard(sys.argv[1], update_freq=3)
fit(model, *([callback, backup] if sys.argv[3] == "before" else [backup, callback]), Kill())
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_resumed_training_writes_no_step_twice_and_none_too_few(tmp_path, order):
    log_dir = tmp_path / "logs"

    def run(kill_at):
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), log_dir, str(kill_at), order]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    killed = run(17)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert steps(log_dir) == [3, 6, 9, 10, 12, 15]
    resumed = run(-1)
    assert resumed.returncode == 0, resumed.stderr
    # Steps 11 to 17 were trained a second time.
    assert steps(log_dir) == [3, 6, 9, 10, 12, 15, 18, 20, 21, 24, 27, 30]


def test_beside_the_callback_of_keras(tmp_path):
    model = compiled()
    fit(
        model,
        keras.callbacks.TensorBoard(tmp_path),
        GradientBalanceTensorBoard(tmp_path),
        validation_data=(FEATURES, LABELS),
    )
    assert {"train", "validation"} < set(os.listdir(tmp_path))
    assert steps(tmp_path) == [10, 20, 30]


def test_two_replicas(tmp_path):
    with two_replicas().scope():
        model = compiled()
    fit(model, GradientBalanceTensorBoard(tmp_path))
    assert steps(tmp_path) == [10, 20, 30]
    total = sum(value.sum() for _, value in series(tmp_path, "output/class_counts")[-1:])
    assert total == 3 * 40


def test_only_the_chief_writes(tmp_path, monkeypatch):
    model = compiled()
    extended = type(model.distribute_strategy.extended)
    monkeypatch.setattr(extended, "should_save_summary", property(lambda self: False))
    fit(model, GradientBalanceTensorBoard(tmp_path / "logs"))
    assert not (tmp_path / "logs").exists()


def test_several_outputs_and_multi_label(tmp_path):
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(
        inputs,
        [
            keras.layers.Dense(4, activation="softmax", name="kind")(inputs),
            keras.layers.Dense(3, activation="sigmoid", name="marks")(inputs),
        ],
    )
    model.compile(
        "adam",
        loss=[
            gb_keras.GradientBalancedLoss(),
            gb_keras.GradientBalancedLoss("binary_crossentropy"),
        ],
    )
    marks = (RNG.random((40, 3)) < 0.5).astype(np.float32)
    callback = GradientBalanceTensorBoard(tmp_path)
    history = model.fit(FEATURES, [LABELS, marks], batch_size=4, verbose=0, callbacks=[callback])
    for name in ("kind", "marks/negatives", "marks/positives"):
        assert steps(tmp_path, f"{name}/histogram") == [10]
    [(_, loss)] = series(tmp_path, "kind/base_loss")
    assert float(loss) == pytest.approx(history.history["kind_base_loss"][0], rel=1e-6)


def test_plain_summaries_are_an_option(tmp_path):
    fit(compiled(), GradientBalanceTensorBoard(tmp_path / "with"))
    fit(compiled(), GradientBalanceTensorBoard(tmp_path / "without", plain_summaries=False))
    tag = "gradient_balance/output/gradient_norm"
    assert steps(tmp_path / "with", tag) == [10, 20, 30]
    assert steps(tmp_path / "without", tag) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"update_freq": 0}, "at least 1"),
        ({"update_freq": "batch"}, "at least 1"),
        ({"update_freq": True}, "at least 1"),
        ({"classes": ["a"]}, "which are not given"),
        ({"classes": ["e"], "class_names": list("abcd")}, "among class_names"),
        ({"classes": "a", "class_names": list("abcd")}, "to be a list"),
    ],
)
def test_wrong_arguments(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        GradientBalanceTensorBoard(tmp_path, **options)


def test_a_wrong_number_of_names_is_seen_at_the_first_batch(tmp_path):
    with pytest.raises(ValueError, match="the 4 names of the classes"):
        fit(compiled(), GradientBalanceTensorBoard(tmp_path, class_names=["a"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": [4]}, "at most 180 classes in"),
        ({"classes": [-1]}, "at most 180 classes in"),
        ({"classes": [1.5]}, "names or indices"),
        ({"class_names": "abcd"}, "to be a list"),
    ],
)
def test_wrong_classes_are_seen_at_the_first_batch(tmp_path, options, said):
    model = compiled()
    with pytest.raises(ValueError, match=said):
        fit(model, GradientBalanceTensorBoard(tmp_path, **options))
    assert int(model.optimizer.iterations) <= 1


def test_numbers_of_numpy_are_numbers(tmp_path):
    callback = GradientBalanceTensorBoard(
        tmp_path,
        update_freq=np.int64(15),
        classes=np.array([1, 2]),
        class_names=np.array(["a", "b", "\ud800", "d"]),
    )
    fit(compiled(), callback)
    assert steps(tmp_path) == [10, 15, 20, 30]


@pytest.mark.parametrize("cls", [gb_keras.GradientBalancedModel, keras.Model])
def test_after_an_interruption_and_two_at_once(tmp_path, cls):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = compiled(cls)
    callback = GradientBalanceTensorBoard(tmp_path / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        fit(model, callback, Interrupt())
    # As a notebook's cell does that is run again, and then with the first one.
    model.evaluate(FEATURES, LABELS, verbose=0, callbacks=[GradientBalanceTensorBoard(tmp_path)])
    fit(model, GradientBalanceTensorBoard(tmp_path / "a"), epochs=1)
    fit(model, callback, epochs=1)
    fit(
        model,
        GradientBalanceTensorBoard(tmp_path / "b"),
        GradientBalanceTensorBoard(tmp_path / "c", update_freq=100),
        epochs=1,
    )
    assert steps(tmp_path / "a") == [11]
    assert steps(tmp_path / "interrupted") == [21]
    assert steps(tmp_path / "b") == steps(tmp_path / "c") == [31]
    assert "train_step" not in vars(model)


@pytest.mark.parametrize("cls", [gb_keras.GradientBalancedModel, keras.Model])
def test_epochs_are_those_in_which_was_counted(tmp_path, cls):
    model = compiled(cls)
    fit(model, epochs=2)
    fit(model, GradientBalanceTensorBoard(tmp_path), epochs=2)
    epochs = [float(value) for _, value in series(tmp_path, "output/num_epochs")]
    counts = [float(value.sum()) for _, value in series(tmp_path, "output/class_counts")]
    # A balanced model has counted before, too.
    before = 2 if cls is gb_keras.GradientBalancedModel else 0
    assert epochs == [before + 1, before + 2]
    assert counts == [40 * number for number in epochs]


def test_resumed_with_accumulation_of_gradients(tmp_path):
    def accumulating():
        inputs = keras.Input((6,))
        model = gb_keras.GradientBalancedModel(inputs, keras.layers.Dense(4)(inputs))
        base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.Adam(gradient_accumulation_steps=8)
        model.compile(optimizer, loss=gb_keras.GradientBalancedLoss(base))
        return model

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def run(*callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        callback = GradientBalanceTensorBoard(tmp_path / "logs", update_freq=1)
        fit(accumulating(), backup, callback, *callbacks)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupt())
    run()
    assert steps(tmp_path / "logs") == [0, 1, 2, 3]
    epochs = [float(value) for _, value in series(tmp_path / "logs", "output/num_epochs")]
    assert epochs == pytest.approx([0.1, 0.8, 1.6, 2.4])


def test_several_outputs_keep_their_losses_recalls_and_names_apart(tmp_path):
    inputs = keras.Input((6,))
    model = keras.Model(
        inputs,
        [
            keras.layers.Dense(4, activation="softmax", name="a")(inputs),
            keras.layers.Dense(2, activation="softmax", name="b")(inputs),
            keras.layers.Dense(1, name="far")(inputs),
        ],
    )
    model.compile(
        "sgd",
        loss=["sparse_categorical_crossentropy", "sparse_categorical_crossentropy", "mse"],
        metrics={"b": [gb_keras.metrics.BalancedAccuracy()]},
    )
    callback = GradientBalanceTensorBoard(
        tmp_path, class_names={"a": list("wxyz"), "b": ["no", "yes"]}, classes=["yes", "w"]
    )
    labels = [LABELS, LABELS % 2, 100 * FEATURES[:, :1]]
    history = model.fit(FEATURES, labels, verbose=0, callbacks=[callback]).history
    for name in "ab":
        [(_, loss)] = series(tmp_path, f"{name}/loss")
        assert float(loss) == pytest.approx(history[f"{name}_loss"][0], rel=1e-5)
    assert series(tmp_path, "a/recalls") == []
    [(_, recalls)] = series(tmp_path, "b/recalls")
    assert recalls.mean() == pytest.approx(history["b_balanced_accuracy"][0], rel=1e-5)
    [(_, names)] = series(tmp_path, "b/class_names")
    assert [name.decode() for name in names] == ["no", "yes"]


def test_an_only_output_over_classes_beside_another_has_its_own_loss(tmp_path):
    inputs = keras.Input((6,))
    for cls in (keras.Model, gb_keras.GradientBalancedModel):
        outputs = [
            keras.layers.Dense(4, activation="softmax", name="a")(inputs),
            keras.layers.Dense(1, name="far")(inputs),
        ]
        model = cls(inputs, outputs)
        balanced = cls is gb_keras.GradientBalancedModel
        loss = gb_keras.GradientBalancedLoss() if balanced else "sparse_categorical_crossentropy"
        model.compile("sgd", loss=[loss, "mse"])
        log_dir = tmp_path / cls.__name__
        history = model.fit(
            FEATURES,
            [LABELS, 100 * FEATURES[:, :1]],
            verbose=0,
            callbacks=[GradientBalanceTensorBoard(log_dir)],
        ).history
        [(_, written)] = series(log_dir, "output/loss")
        assert float(written) == pytest.approx(history["a_loss"][0], rel=1e-5)
        [(_, base)] = series(log_dir, "output/base_loss")
        expected = history["base_loss"] if balanced else history["a_loss"]
        assert float(base) == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize("cls", [gb_keras.GradientBalancedModel, keras.Model])
def test_an_outputs_name_may_hold_a_slash(tmp_path, cls):
    inputs = keras.Input((6,))
    sizes = {"kind/fine": 4, "kind/coarse": 2}
    outputs = {
        name: keras.layers.Dense(size, activation="softmax")(inputs) for name, size in sizes.items()
    }
    model = cls(inputs, outputs)
    balanced = cls is gb_keras.GradientBalancedModel
    loss = gb_keras.GradientBalancedLoss() if balanced else "sparse_categorical_crossentropy"
    model.compile("sgd", loss=dict.fromkeys(sizes, loss))
    names = {"kind/fine": list("abcd"), "kind/coarse": ["no", "yes"]}
    labels = {"kind/fine": LABELS, "kind/coarse": LABELS % 2}
    callback = GradientBalanceTensorBoard(tmp_path, class_names=names, classes=["a"])
    history = model.fit(FEATURES, labels, verbose=0, callbacks=[callback]).history
    if balanced:
        assert set(model.gradient_density) == set(sizes)
    for name, size in sizes.items():
        [(_, counts)] = series(tmp_path, f"{name}/class_counts")
        assert counts.tolist() == [40 / size] * size
        [(_, loss)] = series(tmp_path, f"{name}/loss")
        assert float(loss) == pytest.approx(history[f"{name}_loss"][0], rel=1e-5)
        [(_, written)] = series(tmp_path, f"{name}/class_names")
        assert [each.decode() for each in written] == names[name]


def test_a_loop_of_ones_own(tmp_path):
    model = compiled(keras.Model)
    callbacks = keras.callbacks.CallbackList(
        [GradientBalanceTensorBoard(tmp_path, update_freq=2)], model=model
    )
    callbacks.on_train_begin()
    for batch in range(4):
        logs = model.train_on_batch(FEATURES[:8], LABELS[:8], return_dict=True)
        callbacks.on_train_batch_end(batch, logs)
    callbacks.on_train_end()
    assert steps(tmp_path) == [2, 4]


def test_names_that_come_later_are_written(tmp_path):
    model = compiled()
    fit(model, GradientBalanceTensorBoard(tmp_path), epochs=1)
    fit(model, GradientBalanceTensorBoard(tmp_path, class_names=list("abcd")), epochs=1)
    assert len(series(tmp_path, "output/class_names")) == 1


@pytest.mark.parametrize("method", ["train_step", "compute_loss"])
def test_a_step_that_leaves_the_loss_alone_is_told_of(tmp_path, method):
    class Own(keras.Model):
        pass

    def train_step(self, data):
        return {"loss": 0.0}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)

    setattr(Own, method, {"train_step": train_step, "compute_loss": compute_loss}[method])
    with pytest.warns(UserWarning, match="nothing is observed"):
        fit(compiled(Own), GradientBalanceTensorBoard(tmp_path), epochs=1)
