"""Checkpoints that are damaged, and what becomes of a run then."""

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from gb_keras import distribution
from gb_keras.stages.checkpoints import EpochCheckpoint

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.arange(16) % 2


def new_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    return model


def fit(model, checkpoint, first_epoch, epochs):
    model.fit(
        X, Y, epochs=epochs, initial_epoch=first_epoch, shuffle=False, verbose=0,
        callbacks=[checkpoint],
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run of three epochs, whose last two are kept."""
    fit(new_model(), EpochCheckpoint(tmp_path), 0, 3)
    return tmp_path


def names(run):
    return sorted(path.name for path in (run / "checkpoints").glob("epoch-*"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated_weights": lambda folder: truncate(folder / "state.keras"),
    "flipped_bit": lambda folder: flip_a_bit(folder / "state.keras"),
    "missing_weights": lambda folder: (folder / "state.keras").unlink(),
    "empty_history": lambda folder: (folder / "history.json").write_text(""),
    "missing_checksums": lambda folder: (folder / "checksums.json").unlink(),
    "broken_checksums": lambda folder: (folder / "checksums.json").write_text("{"),
}


def test_the_last_two_epochs_are_kept(run):
    assert names(run) == ["epoch-0002", "epoch-0003"]
    assert EpochCheckpoint(run).num_epochs == 3


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(run, tmp_path, damage):
    damage(run / "checkpoints" / "epoch-0003")
    with pytest.warns(UserWarning, match=r"damaged: epoch-0003\. Going on from epoch-0002"):
        checkpoint = EpochCheckpoint(run)
    assert checkpoint.num_epochs == 2
    model = new_model()
    assert checkpoint.restore(model)
    assert names(run) == ["epoch-0002"]
    assert len(checkpoint.history["loss"]) == 2
    fit(model, checkpoint, 2, 4)
    assert names(run) == ["epoch-0003", "epoch-0004"]
    whole = new_model()
    fit(whole, EpochCheckpoint(tmp_path / "whole"), 0, 4)
    for a, b in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_whole_is_said_and_nothing_removed(run):
    for name in names(run):
        truncate(run / "checkpoints" / name / "state.keras")
    with pytest.raises(ValueError, match=r"epoch-0002, epoch-0003, damaged\. Train into another"):
        EpochCheckpoint(run)
    assert names(run) == ["epoch-0002", "epoch-0003"]


def test_others_than_the_chief_read_and_do_not_write(run):
    flip_a_bit(run / "checkpoints" / "epoch-0003" / "state.keras")
    (run / "checkpoints" / ".epoch-0004.partial").mkdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.warns(UserWarning, match="damaged"):
        checkpoint = EpochCheckpoint(run, is_chief=False)
    model = new_model()
    assert checkpoint.restore(model)
    fit(model, checkpoint, 2, 3)
    assert len(checkpoint.history["loss"]) == 3
    checkpoint.remove()
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}


class Interrupted(keras.callbacks.Callback):
    """Ends a training after a step."""

    def __init__(self, epoch, step):
        super().__init__()
        self.place = (epoch, step)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.place:
            raise KeyboardInterrupt


def batches(first_step=0):
    """Four batches of four, or what is left of them."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat()
    return data.skip(first_step)


def fit_steps(model, callbacks, first_epoch, epochs, first_step=0):
    model.fit(
        batches(first_step),
        epochs=epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=4 - first_step,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
    )


@pytest.mark.parametrize("saved_at", [2, 3])
@pytest.mark.parametrize("strategy", ["none", "mirrored"])
def test_an_epoch_goes_on_at_the_step_that_was_saved_last(tmp_path, saved_at, strategy):
    scope = distribution.strategy(strategy).scope
    whole = EpochCheckpoint(tmp_path / "whole")
    with scope():
        model = new_model()
    fit_steps(model, [whole], 0, 3)

    first = EpochCheckpoint(tmp_path / "run", every_steps=1)
    with scope():
        interrupted = new_model()
    with pytest.raises(KeyboardInterrupt):
        fit_steps(interrupted, [first, Interrupted(1, saved_at)], 0, 3)
    expected = [f"epoch-0001-step-{step:08}" for step in (saved_at - 1, saved_at)]
    assert names(tmp_path / "run") == expected
    second = EpochCheckpoint(tmp_path / "run")
    assert (second.num_epochs, second.num_steps) == (1, saved_at)
    with scope():
        again = new_model()
        assert second.restore(again)
    fit_steps(again, [second], 1, 2, first_step=saved_at)
    fit_steps(again, [second], 2, 3)
    # The loss of the epoch is the mean over all of its steps, those before the interruption too.
    assert second.history == whole.history
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert names(tmp_path / "run") == ["epoch-0002", "epoch-0003"]


@pytest.mark.parametrize("step", [1, 4])
def test_a_process_that_is_told_to_end_saves_first(tmp_path, step):
    class Told(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch + 1 == step:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    checkpoint = EpochCheckpoint(tmp_path)
    with pytest.raises(SystemExit) as ended, checkpoint.saving_on_termination():
        fit_steps(new_model(), [Told(), checkpoint], 0, 3)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert names(tmp_path) == ["epoch-0000-step-00000001" if step == 1 else "epoch-0001"]
