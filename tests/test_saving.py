"""The statistic goes along: save and load, checkpoints, export; training goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import gb_keras
from tests.replicas import two_replicas

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(0, 1, (40, 6)).astype(np.float32)
LABELS = np.minimum(RNG.geometric(0.4, 40) - 1, 3)
MANY_LABELS = (RNG.random((40, 4)) < 0.3).astype(np.float32)


def functional():
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", dtype="float32")(x))


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.Model):
    """A model with a `call` of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.classifier = keras.layers.Dense(4, activation="softmax")

    def call(self, inputs):
        return self.classifier(inputs)


@keras.saving.register_keras_serializable(package="tests")
class OwnBalanced(gb_keras.GradientBalancedMixin, Own):
    """The same with the mixin."""


def two_outputs():
    inputs = keras.Input((6,))
    names = {"a": 4, "b": 4}
    outputs = [keras.layers.Dense(n, "softmax", name=name)(inputs) for name, n in names.items()]
    return gb_keras.GradientBalancedModel(inputs, outputs)


def outputs_by_name():
    inputs = keras.Input((6,))
    outputs = {name: keras.layers.Dense(4, "softmax")(inputs) for name in ("kind/fine", "_coarse")}
    return gb_keras.GradientBalancedModel(inputs, outputs)


MODELS = {
    "functional": lambda: gb_keras.GradientBalancedModel.from_model(functional()),
    "sequential": lambda: gb_keras.GradientBalancedModel.from_model(
        keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="softmax")])
    ),
    "wrapped_subclass": lambda: gb_keras.GradientBalancedModel.from_model(Own()),
    "own_subclass": OwnBalanced,
    "two_outputs": two_outputs,
    "outputs_by_name": outputs_by_name,
}


def compiled(model, **options):
    loss = gb_keras.GradientBalancedLoss(**{"bins": 6, **options})
    model.compile(keras.optimizers.Adam(0.05), loss)
    return model


def fit(model, epochs=1, **options):
    labels = dict.fromkeys(model.gradient_density, LABELS) if _several(model) else LABELS
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(FEATURES, labels, epochs=epochs, **options)


def _several(model):
    return isinstance(model.gradient_density, dict)


def state(model):
    """Every number that further training depends on."""
    densities = model.gradient_density.values() if _several(model) else [model.gradient_density]
    return [
        *model.get_weights(),
        *(variable.numpy() for variable in model.optimizer.variables),
        *(variable.numpy() for density in densities for variable in density.variables),
    ]


def assert_same_state(model, expected, **tolerance):
    for a, b in zip(state(model), expected, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@pytest.mark.parametrize("kind", MODELS)
def test_loaded_model_goes_on_as_if_it_had_not_been_saved(kind, tmp_path):
    model = compiled(MODELS[kind]())
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert_same_state(loaded, state(model), rtol=0)
    for each in (model, loaded):
        fit(each, epochs=2)
    assert_same_state(loaded, state(model), rtol=1e-5, atol=1e-6)


def test_a_new_process_needs_no_custom_objects(tmp_path):
    model = compiled(MODELS["functional"]())
    fit(model)
    model.save(tmp_path / "model.keras")
    program = f"""
        import json, keras, gb_keras
        model = keras.models.load_model({str(tmp_path / "model.keras")!r})
        print(json.dumps(model.gradient_density.histogram.numpy().tolist()))
        print(type(model).__name__, type(model.loss).__name__, model.loss.bins)
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    np.testing.assert_array_equal(
        json.loads(output[0]), model.gradient_density.histogram.numpy().tolist()
    )
    assert output[1] == "GradientBalancedModel GradientBalancedLoss 6"


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".weights.json"])
def test_weights_file_holds_the_statistic(kind, suffix, tmp_path):
    model = compiled(MODELS[kind]())
    fit(model, epochs=2)
    options = {"max_shard_size": 1} if suffix.endswith("json") else {}
    model.save_weights(tmp_path / f"state{suffix}", **options)
    other = compiled(MODELS[kind]())
    other(FEATURES[:1])  # Subclassed models get their weights at the first call.
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / f"state{suffix}")
    assert_same_state(other, state(model), rtol=0)


def test_plain_and_balanced_models_exchange_weights(tmp_path):
    plain = functional()
    plain.save_weights(tmp_path / "plain.weights.h5")
    model = MODELS["functional"]()
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])
    # Of a compiled model only the optimizer, as in plain Keras, misses its state in the file.
    compiled(model)
    with pytest.warns(UserWarning, match="loading for optimizer 'adam'") as warnings:
        model.load_weights(tmp_path / "plain.weights.h5", skip_mismatch=True)
    assert len(warnings) == 1
    assert model.gradient_density.histogram.numpy().sum() == 0
    fit(model)
    model.save_weights(tmp_path / "balanced.weights.h5")
    fresh = functional()
    fresh.load_weights(tmp_path / "balanced.weights.h5")
    np.testing.assert_array_equal(fresh.get_weights()[0], model.get_weights()[0])


def test_statistic_of_another_shape_is_refused(tmp_path):
    model = compiled(MODELS["functional"]())
    fit(model)
    model.save_weights(tmp_path / "state.weights.h5")
    other = compiled(MODELS["functional"](), bins=7)
    with pytest.raises(ValueError, match=r"\(4, 7\).*\(4, 6\)"):
        other.load_weights(tmp_path / "state.weights.h5")


def test_multi_label_statistic_survives(tmp_path):
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(
        inputs, keras.layers.Dense(4, activation="sigmoid")(inputs)
    )
    model.compile("sgd", gb_keras.GradientBalancedLoss("binary_crossentropy"))
    model.fit(FEATURES, MANY_LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.gradient_density.multi_label
    np.testing.assert_array_equal(
        loaded.gradient_density.histogram.numpy(), model.gradient_density.histogram.numpy()
    )


def test_mixed_precision_model_reloads_where_the_policy_is_another(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = MODELS["functional"]()
    # An optimizer named as such: Keras wraps others only while the policy is the global one.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model.compile(optimizer, gb_keras.GradientBalancedLoss())
    fit(model)
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same_state(loaded, state(model), rtol=0)
    assert loaded.gradient_density.histogram.dtype == "float32"


@pytest.mark.parametrize("weights_only", [True, False])
def test_model_checkpoint(weights_only, tmp_path):
    path = tmp_path / ("best.weights.h5" if weights_only else "best.keras")
    callback = keras.callbacks.ModelCheckpoint(
        path, monitor="loss", save_best_only=True, save_weights_only=weights_only
    )
    model = compiled(MODELS["functional"]())
    history = fit(model, epochs=3, callbacks=[callback], validation_data=(FEATURES, LABELS))
    assert np.argmin(history.history["loss"]) == 2, "the last epoch is the one that is kept"
    if weights_only:
        loaded = compiled(MODELS["functional"]())
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.load_weights(path)
    else:
        loaded = keras.models.load_model(path)
    assert_same_state(loaded, state(model), rtol=0)


class Stop(keras.callbacks.Callback):
    """Ends the process as a power cut would, in the middle of an epoch."""

    def __init__(self, epoch, batch, kill):
        super().__init__()
        self.at = (epoch, batch)
        self.kill = kill

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt


def resumable(backup_dir, stop=None, kill=False, **backup_options):
    """Train three epochs of five batches, or what is left of them."""
    keras.utils.set_random_seed(4)
    model = compiled(MODELS["functional"]())
    callbacks = [keras.callbacks.BackupAndRestore(backup_dir, **backup_options)]
    callbacks += [Stop(*stop, kill)] if stop else []
    fit(model, epochs=3, callbacks=callbacks)
    return model


def test_interrupted_training_resumes_as_if_uninterrupted(tmp_path):
    expected = resumable(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path / "b", stop=(1, 2))
    resumed = resumable(tmp_path / "b")
    assert_same_state(resumed, state(expected), rtol=1e-5, atol=1e-6)


def test_killed_training_resumes_as_if_uninterrupted(tmp_path):
    program = (
        f"from tests.test_saving import resumable; resumable({str(tmp_path / 'b')!r}, (1, 2), True)"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = resumable(tmp_path / "b")
    assert_same_state(resumed, state(resumable(tmp_path / "a")), rtol=1e-5, atol=1e-6)


def test_backup_within_an_epoch_restores_the_statistic_of_that_batch(tmp_path):
    # Keras promises the weights of the batch, and then the epoch from its beginning.
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path / "b", stop=(1, 3), save_freq=2)
    metadata = json.loads((tmp_path / "b" / "training_metadata.json").read_text())
    assert metadata == {"epoch": 1, "batch": 2}
    model = compiled(MODELS["functional"]())
    model.optimizer.build(model.trainable_variables)
    model.load_weights(tmp_path / "b" / "latest.weights.h5")
    num_batches = 5 * metadata["epoch"] + metadata["batch"] + 1
    assert float(model.gradient_density.num_updates.numpy()) == num_batches
    seen = np.concatenate([LABELS, LABELS[: 8 * (metadata["batch"] + 1)]])
    np.testing.assert_array_equal(model.gradient_density.class_counts.numpy(), np.bincount(seen))


@pytest.mark.parametrize("kind", ["functional", "wrapped_subclass", "own_subclass"])
def test_export_serves_and_holds_the_statistic(kind, tmp_path):
    model = compiled(MODELS[kind]())
    fit(model)
    model.export(tmp_path / "saved_model", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    np.testing.assert_allclose(
        served.serve(FEATURES), model.predict(FEATURES, verbose=0), rtol=1e-5, atol=1e-6
    )
    stored = dict(
        tf.train.list_variables(str(tmp_path / "saved_model" / "variables" / "variables"))
    )
    assert [4, 6] in stored.values(), stored


def test_model_of_two_replicas_loads_anywhere_and_goes_on(tmp_path):
    with two_replicas().scope():
        model = compiled(MODELS["sequential"]())
    fit(model)
    model.save(tmp_path / "model.keras")
    with two_replicas().scope():
        mirrored = keras.models.load_model(tmp_path / "model.keras")
    single = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, mirrored, single):
        fit(each)
    for each in (mirrored, single):
        assert_same_state(each, state(model), rtol=1e-4, atol=1e-5)


def test_clone_starts_a_statistic_of_its_own():
    model = compiled(MODELS["functional"]())
    fit(model)
    clone = keras.models.clone_model(model)
    assert isinstance(clone, gb_keras.GradientBalancedModel)
    compiled(clone)
    assert clone.gradient_density.histogram.numpy().sum() == 0
    assert model.gradient_density.histogram.numpy().sum() > 0


@pytest.mark.parametrize(
    "base",
    [
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        keras.losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.3, 0.4]),
        keras.losses.CategoricalGeneralizedCrossEntropy(q=0.6),
        keras.losses.KLDivergence(),
        keras.losses.BinaryCrossentropy(),
        keras.losses.BinaryFocalCrossentropy(gamma=3.0),
        "sparse_categorical_crossentropy",
    ],
    ids=lambda base: base if isinstance(base, str) else type(base).__name__,
)
def test_every_base_loss_comes_back_from_a_saved_model(base, tmp_path):
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(4, activation="softmax")(inputs)
    model = gb_keras.GradientBalancedModel(inputs, outputs)
    model.compile("sgd", loss=gb_keras.GradientBalancedLoss(base))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert type(loaded.loss.base.loss) is type(model.loss.base.loss)


def test_a_statistic_from_before_there_was_a_noise_rate_is_read():
    model = gb_keras.GradientBalancedModel.from_model(functional())
    model.compile("sgd", gb_keras.GradientBalancedLoss())
    model.fit(FEATURES, LABELS, verbose=0)
    statistic, store = model.gradient_density, {}
    statistic.save_own_variables(store)
    del store["noise_rate"]
    again = gb_keras.GradientDensity(statistic.bins, statistic.momentum)
    again.load_own_variables(store)
    np.testing.assert_array_equal(again.histogram.numpy(), statistic.histogram.numpy())
    assert float(again.noise_rate.numpy()) == pytest.approx(0.05)
    del store["histogram"]
    with pytest.raises(KeyError):
        again.load_own_variables(store)


def test_whoever_imports_the_package_can_load_all_that_it_saves():
    program = """
import pathlib, keras, gb_keras
def registered():
    objects = keras.saving.get_custom_objects()
    return {name for name in objects if name.startswith("gb_keras>")}
at_once = registered()
for path in pathlib.Path(gb_keras.__file__).parent.glob("*.py"):
    if path.stem != "__main__":
        __import__(f"gb_keras.{path.stem}")
import gb_keras.backbones
assert at_once == registered(), registered() - at_once
assert len(at_once) > 20, at_once
"""
    subprocess.run([sys.executable, "-c", program], check=True)
