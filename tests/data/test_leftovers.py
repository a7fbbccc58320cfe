import pytest

from gb_keras.data import leftovers

pytestmark = pytest.mark.skipif(
    leftovers.fcntl is None, reason="this system has no flock: leftovers are left"
)


def test_only_our_own_dead_folders_go(tmp_path):
    target = tmp_path / "result"
    dead = tmp_path / ".result.dead"
    living = tmp_path / ".result.living"
    foreign = tmp_path / ".result.foreign"
    others = tmp_path / ".other.dead"
    for folder in (dead, living, foreign, others):
        folder.mkdir()
        (folder / "shard").write_text("data")
    # As a killed run leaves it: the file is there, the lock went with the process.
    (dead / ".gb_keras.lock").touch()
    (others / ".gb_keras.lock").touch()
    with leftovers.marked_as_ours(living):
        assert leftovers.remove_leftovers(target) == [dead]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.dead",
        ".result.foreign",
        ".result.living",
    ]


def test_a_missing_parent_is_no_error(tmp_path):
    assert leftovers.remove_leftovers(tmp_path / "not" / "there") == []
