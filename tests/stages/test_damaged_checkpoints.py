"""Checkpoints that are damaged, and what becomes of a run then."""

import keras
import numpy as np
import pytest

from gb_keras.stages.checkpoints import EpochCheckpoint

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.arange(16) % 2


def new_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss)
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
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated_weights": lambda folder: truncate(folder / "state.weights.h5"),
    "flipped_bit": lambda folder: flip_a_bit(folder / "state.weights.h5"),
    "missing_weights": lambda folder: (folder / "state.weights.h5").unlink(),
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
    assert checkpoint.restore(model) == 2
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
        truncate(run / "checkpoints" / name / "state.weights.h5")
    with pytest.raises(ValueError, match=r"epoch-0002, epoch-0003, damaged\. Train into another"):
        EpochCheckpoint(run)
    assert names(run) == ["epoch-0002", "epoch-0003"]


def test_others_than_the_chief_read_and_do_not_write(run):
    flip_a_bit(run / "checkpoints" / "epoch-0003" / "state.weights.h5")
    (run / "checkpoints" / ".epoch-0004.partial").mkdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.warns(UserWarning, match="damaged"):
        checkpoint = EpochCheckpoint(run, is_chief=False)
    model = new_model()
    assert checkpoint.restore(model) == 2
    fit(model, checkpoint, 2, 3)
    assert len(checkpoint.history["loss"]) == 3
    checkpoint.remove()
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
