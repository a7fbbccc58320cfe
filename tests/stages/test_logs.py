"""Logs that go back to where a checkpoint is, whatever is in them."""

import pytest

from gb_keras.stages.logs import LogPosition

FILES = {
    "events.out.tfevents.1.host.1.0.gradient_balance": b"page",
    "train/events.out.tfevents.1.host.1.0.v2": b"epochs",
    "validation/events.out.tfevents.1.host.1.1.v2": b"evaluations",
    # Of somebody else.
    "notes.txt": b"mine",
    "other/events.out.tfevents.1.host.1.0.v2": b"another run",
}
TRAIN = "train/events.out.tfevents.1.host.1.0.v2"


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def run(tmp_path):
    """A run's folder, whose logs were written further after their position was."""
    run = tmp_path / "run"
    write(run / "logs", FILES)
    LogPosition(run, run / "logs").write(tmp_path / "position.json")
    later = {name: content + b", and more" for name, content in FILES.items()}
    write(run / "logs", {**later, "train/events.out.tfevents.2.host.2.0.v2": b"of a new process"})
    return run


def test_what_came_later_goes_and_nothing_else(run, tmp_path):
    LogPosition(run, run / "logs").go_back(tmp_path / "position.json")
    ours = {name: content for name, content in FILES.items() if "events" in name}
    del ours["other/events.out.tfevents.1.host.1.0.v2"]
    found = read(run / "logs")
    assert {name: found.pop(name) for name in ours} == ours
    assert set(found) == {"notes.txt", "other/events.out.tfevents.1.host.1.0.v2"}
    assert all(content.endswith(b", and more") for content in found.values())


def test_what_is_shorter_than_it_was_stays(run, tmp_path):
    (run / "logs" / TRAIN).write_bytes(b"ep")
    LogPosition(run, run / "logs").go_back(tmp_path / "position.json")
    assert (run / "logs" / TRAIN).read_bytes() == b"ep"


def test_a_run_that_was_moved_finds_its_logs(run, tmp_path):
    moved = run.rename(tmp_path / "moved")
    LogPosition(moved, moved / "logs").go_back(tmp_path / "position.json")
    assert (moved / "logs" / TRAIN).read_bytes() == FILES[TRAIN]


def test_logs_in_another_folder_are_left_alone(run, tmp_path):
    write(tmp_path / "logs", {TRAIN: b"of another run"})
    LogPosition(run, tmp_path / "logs").go_back(tmp_path / "position.json")
    assert read(tmp_path / "logs") == {TRAIN: b"of another run"}


def test_a_run_without_logs_has_none_to_cut(tmp_path):
    position = LogPosition(tmp_path, tmp_path / "logs")
    position.write(tmp_path / "position.json")
    position.go_back(tmp_path / "position.json")
    assert not (tmp_path / "logs").exists()
