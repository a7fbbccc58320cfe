"""Trainings that are killed, told to end or out of disk space, and what comes of them.

Each chain of failures happens to one run, in real processes that go on where the last ones ended.
At its end the run must be one that was left alone: its weights, its history, its curves.
"""

import json
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.util import tensor_util

from benchmarks import loopback
from gb_keras.stages.train import train
from tests.training_job import STEPS_PER_EPOCH, assert_same_run

# Its processes are shared by its tests, so one worker of pytest takes them all.
pytestmark = pytest.mark.xdist_group("workers")

KILLED, TOLD = -9, 143
# What happens in each start of one process: a function of the program and its arguments.
ALONE = {
    "killed in a summary": ("in_summary", "epoch_accuracy", 0),
    "killed in the weights": ("in_state", 2),
    "killed in a page": ("in_own_summary", 2 * STEPS_PER_EPOCH),
    "disk full": ("on_a_full_disk", 1),
    "killed after a checkpoint": ("at_renaming", "epoch-0002", True),
    "killed after the model": ("at_renaming", "model.keras", True),
    "a damaged checkpoint": ("after_damage", "checkpoints/epoch-0003/state.keras"),
}
# The same of two workers that train together, after the workers that it happens to.
TOGETHER = {
    "chief killed in a checkpoint": ([0], "at_renaming", "checksums.json"),
    "worker killed": ([1], "in_epoch", 0, 3),
    "all killed": ([0, 1], "in_epoch", 1, 3),
    "worker told to end": ([1], "in_epoch", 1, 5, 15),
    "left alone": ([], None),
}


def rounds(job, run, num_workers, chain, copies):
    folder, options = job
    arguments = [f"--data={folder / 'data'}", f"--output={run}", "--resume"]
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    for number, (workers, name, *more) in enumerate(chain):
        yield {
            "workers": num_workers,
            "run": str(run),
            "copy": str(copies[number]) if number in copies else None,
            "arguments": arguments,
            "failure": {"name": name, "workers": workers, "arguments": more},
        }


@pytest.fixture(scope="module")
def played(job, tmp_path_factory):
    """Folder of both runs, and what each of their starts has come to, by its name."""
    folder = tmp_path_factory.mktemp("failures")
    alone = [([0], *failure) for failure in ALONE.values()]
    planned = [
        *rounds(job, folder / "alone", 1, alone, {}),
        *rounds(job, folder / "together", 2, TOGETHER.values(), {3: folder / "told"}),
    ]
    (folder / "rounds.json").write_text(json.dumps(planned))
    files = [folder / "rounds.json", folder / "results.json"]
    subprocess.run(
        [sys.executable, "-m", "tests.failure_program", *files], cwd=loopback.ROOT, check=True
    )
    results = json.loads((folder / "results.json").read_text())
    return folder, dict(zip([*ALONE, *TOGETHER], results, strict=True))


def curves(folder):
    """Step and value of all that TensorBoard shows of a run, by folder and tag, as written."""
    found = {}
    for file in sorted(folder.rglob("*tfevents*")):
        for event in event_file_loader.EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                points = found.setdefault((str(file.parent.relative_to(folder)), value.tag), [])
                points.append((event.step, tensor_util.make_ndarray(value.tensor)))
    return found


def assert_same_curves(run, other, rtol):
    ours, theirs = curves(run / "logs"), curves(other / "logs")
    assert set(ours) == set(theirs)
    for (folder, tag), points in theirs.items():
        steps = [step for step, _ in points]
        assert [step for step, _ in ours[folder, tag]] == steps, (folder, tag)
        if "/" not in tag:
            # What Keras writes; pages have what is counted anew.
            values = [float(value) for _, value in points]
            assert [float(value) for _, value in ours[folder, tag]] == pytest.approx(
                values, rel=rtol
            )
    assert [step for step, _ in ours["train", "epoch_loss"]] == [0, 1, 2]


def saved(result):
    """Checkpoints by their final names, and those that a killed process left half-written."""
    names = [name.removeprefix("checkpoints/") for name in result["files"]]
    names = [name for name in names if "epoch-" in name and "/" not in name]
    return (
        {name for name in names if not name.startswith(".")},
        [name.rsplit(".", 1)[0] for name in names if name.startswith(".")],
    )


class TestAlone:
    """One process."""

    def test_ends_as_if_nothing_had_happened(self, played, one_process):
        folder, results = played
        assert results["a damaged checkpoint"]["codes"] == [0]
        assert_same_run(folder / "alone", one_process, rtol=0, atol=0)
        assert_same_curves(folder / "alone", one_process, rtol=0)
        hidden = list((folder / "alone").rglob(".*"))
        assert not hidden
        assert not (folder / "alone" / "checkpoints").exists()

    @pytest.mark.parametrize(
        ("name", "whole", "half"),
        [
            ("killed in a summary", set(), []),
            ("killed in the weights", {"epoch-0001"}, [".epoch-0002"]),
            ("killed in a page", {"epoch-0001"}, []),
            ("killed after a checkpoint", {"epoch-0001", "epoch-0002"}, []),
            ("killed after the model", {"epoch-0002", "epoch-0003"}, []),
        ],
    )
    def test_is_killed_where_it_is_meant_to_be(self, played, name, whole, half):
        _, results = played
        assert results[name]["codes"] == [KILLED], results[name]["outputs"]
        assert saved(results[name]) == (whole, half)
        assert ("model.keras" in results[name]["files"]) == (name == "killed after the model")

    def test_a_full_disk_is_said_in_one_line_and_leaves_what_was_saved(self, played):
        _, results = played
        result = results["disk full"]
        assert result["codes"] == [1]
        errors = [line for line in result["outputs"][0].splitlines() if "Error" in line]
        assert len(errors) == 1, result["outputs"]
        assert "No space left on device. Make room, and go on with" in errors[0]
        assert "what was saved before is whole" in errors[0]
        assert saved(result) == ({"epoch-0001"}, [])

    def test_a_damaged_checkpoint_is_said(self, played):
        _, results = played
        said = "damaged: epoch-0003. Going on from epoch-0002."
        assert said in results["a damaged checkpoint"]["outputs"][0]


class TestTogether:
    """Two workers."""

    def test_end_as_if_nothing_had_happened(self, played, one_process):
        folder, results = played
        assert results["left alone"]["codes"] == [0, 0]
        run = folder / "together"
        assert_same_run(run, one_process)
        assert_same_curves(run, one_process, rtol=1e-3)
        chief, worker = results["left alone"]["outputs"]
        assert "multi-worker: worker 1 of 2, 2 replicas in all" in worker
        # The chief alone wrote.
        assert "Epoch 3/3" in chief
        assert "Epoch" not in worker
        assert not list(run.rglob(".*"))
        assert not (run / "checkpoints").exists()
        config = json.loads((run / "config.json").read_text())
        assert config["distribution"]["num_workers"] == 2

    @pytest.mark.parametrize(
        ("name", "codes", "whole", "half"),
        [
            ("chief killed in a checkpoint", [KILLED, 1], set(), [".epoch-0001"]),
            ("worker killed", [1, KILLED], set(), []),
            ("all killed", [KILLED, KILLED], {"epoch-0001"}, []),
        ],
    )
    def test_who_is_killed_ends_the_others_with_an_error(self, played, name, codes, whole, half):
        _, results = played
        result = results[name]
        assert result["codes"] == codes, result["outputs"]
        assert saved(result) == (whole, half)
        for code, output in zip(codes, result["outputs"], strict=True):
            assert code == KILLED or "UnavailableError" in output, output

    def test_all_save_the_same_step_where_one_is_told_to_end(self, played):
        _, results = played
        result = results["worker told to end"]
        assert result["codes"] == [TOLD, TOLD], result["outputs"]
        # The step at hand was finished.
        assert saved(result) == ({"epoch-0001", "epoch-0001-step-00000006"}, [])
        for output in result["outputs"]:
            assert "Told to end: what was trained is saved in" in output
            assert "epoch-0001-step-00000006" in output

    def test_another_number_of_workers_goes_on(self, played, job, one_process):
        folder, _ = played
        data, options = job
        run = folder / "told"  # A copy of the run as it was then.
        options = {**options, "verbose": 0, "strategy": "none"}
        summary = train(data / "data", run, **options, resume=True)
        assert summary["resumed_at_epoch"] == 1
        assert_same_run(run, one_process)
        assert_same_curves(run, one_process, rtol=1e-3)
