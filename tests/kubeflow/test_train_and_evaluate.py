"""The pipeline: run here for real, compiled, and submitted to a server on this machine."""

import contextlib
import http.server
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
import typer
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from typer.testing import CliRunner

from components.data_processing.prepare_data import prepare_data
from components.evaluation.compare_models import compare_models
from components.evaluation.evaluate_model import evaluate_model
from components.training.train_model import train_model
from gb_keras.tensorboard import history
from pipelines.train_and_evaluate import __main__ as cli
from pipelines.train_and_evaluate import train_and_evaluate
from tests import documents
from tests.data.open_images import put_classes, put_image, put_labels, put_tree
from tests.kubeflow import ir

# Its runs are shared by its tests, so one worker takes them all.
pytestmark = pytest.mark.xdist_group("train_and_evaluate")

ROOT = Path(__file__).parents[2]
TASKS = {"prepare-data", "train-model", "evaluate-model", "compare-models"}
LOSSES = ("cross_entropy", "gradient_balanced")

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def invoke(*arguments):
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def start(output, *options):
    """The command in a process group of its own, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-m", "pipelines.train_and_evaluate", "--local"]
    data = ["--dataset", "digits", "--long-tail-factor", "20", "--batch-size", "128"]
    return subprocess.Popen(
        [*command, *data, "--output", output, *map(str, options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(output, *options):
    process = start(output, *options)
    process.stdout_text, process.stderr_text = process.communicate()
    return process


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and the folder that it is in."""
    output = tmp_path_factory.mktemp("pipeline") / "new" / "runs"
    return run(output, "--epochs", 2), output


def executed(process):
    return re.findall(r"Executing task '([\w-]+)'", process.stdout_text)


def artifacts(folder):
    """The artifacts that a task left in its folder, by name."""
    written = json.loads((folder / "executor_output.json").read_text())["artifacts"]
    return {name: each["artifacts"][0] for name, each in written.items()}


def test_every_task_runs_and_the_end_says_where_everything_is(finished):
    process, output = finished
    assert process.returncode == 0, process.stderr_text
    assert process.stderr_text == ""
    pair = ["train-model", "evaluate-model"]
    assert executed(process) == ["prepare-data", *pair, *pair, "compare-models"]
    assert process.stdout_text.count("Epoch 2/2") == 2
    # All the rest that is printed is in the log, and only there.
    (log,) = output.glob("log-*.txt")
    assert "KFP Executor" in log.read_text()
    assert "KFP Executor" not in process.stdout_text
    assert {path.name for path in output.iterdir()} >= {log.name, ".kfp_cache"}
    assert not list(output.glob(".workspace*"))

    text = process.stdout_text
    comparison = Path(re.search(r"^Comparison: (.*)$", text, re.MULTILINE)[1])
    assert comparison.is_file()
    table = (comparison.parent / "comparison.md").read_text().split("![")[0]
    assert table.strip() in text
    found = re.findall(r"^(\w+):\n  report: (.*)\n  logs:   (.*)$", text, re.MULTILINE)
    assert [loss for loss, _, _ in found] == list(LOSSES)
    for _, report, logs in found:
        assert Path(report).read_text().startswith("<!doctype html>")
        for split in ("train", "validation"):
            assert list((Path(logs) / split).glob("events.out.tfevents.*"))
        # The page of TensorBoard reads the same folder.
        assert history.density_over_steps(logs)["steps"]
    [board] = re.findall(r"^See how .*: (\S+) --logdir (\S+)$", text, re.MULTILINE)
    assert Path(board[0]).is_file()
    assert {path.name: str(path.resolve()) for path in Path(board[1]).iterdir()} == {
        loss: logs for loss, _, logs in found
    }


def test_typed_artifacts_hold_what_the_stages_measured(finished):
    _, output = finished
    (folder,) = output.glob("train-and-evaluate-*")
    dataset = artifacts(folder / "prepare-data")["dataset"]
    assert dataset["metadata"]["options"]["long_tail_factor"] == 20
    for number, loss in enumerate(LOSSES):
        loop = folder / f"for-loop-1-iteration-{number}"
        trained = artifacts(loop / "train-model")
        assert trained["model"]["metadata"]["framework"] == "keras"
        assert trained["model"]["metadata"]["loss"] == loss
        assert (Path(trained["model"]["uri"]) / "model.keras").is_file()
        history = json.loads((Path(trained["model"]["uri"]) / "history.json").read_text())
        last = {name: values[-1] for name, values in history.items()}
        assert trained["metrics"]["metadata"] == pytest.approx(last)

        evaluated = artifacts(loop / "evaluate-model")
        result = json.loads((Path(evaluated["evaluation"]["uri"]) / "metrics.json").read_text())
        assert result["run"]["batch_size"] == 128
        known = {name: each for name, each in result["metrics"].items() if each is not None}
        assert evaluated["metrics"]["metadata"] == pytest.approx(known)
        classes = evaluated["classification_metrics"]["metadata"]
        matrix = [row["row"] for row in classes["confusionMatrix"]["rows"]]
        np.testing.assert_array_equal(matrix, result["confusion_matrix"])
        names = [each["displayName"] for each in classes["confusionMatrix"]["annotationSpecs"]]
        assert names == [each["name"] for each in result["per_class"]]
        curve = [each["recall"] for each in classes["confidenceMetrics"]]
        assert curve == pytest.approx(result["roc"]["micro"]["tpr"])
        report = Path(evaluated["evaluation"]["uri"]) / "report.html"
        assert Path(evaluated["report"]["uri"]).read_text() == report.read_text()

    compared = artifacts(folder / "compare-models")
    table = Path(compared["table"]["uri"]).read_text()
    assert "cross_entropy (baseline)" in table
    assert "![" not in table
    assert Path(compared["report"]["uri"]).read_text().startswith("<!doctype html>")


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_same_once_more_takes_what_is_there(finished):
    process, output = finished
    before = contents(output)
    again = run(output, "--epochs", 2)
    assert again.returncode == 0, again.stderr_text
    assert executed(again) == []
    assert again.stdout_text.count("cache hit") == 6
    end = process.stdout_text.index("# Comparison")
    assert again.stdout_text.endswith(process.stdout_text[end:])
    assert before.items() <= contents(output).items()


def test_another_baseline_compares_again_and_trains_nothing(finished):
    _, output = finished
    before = contents(output)
    other = run(output, "--epochs", 2, "--baseline", "gradient_balanced")
    assert other.returncode == 0, other.stderr_text
    assert executed(other) == ["compare-models"]
    assert "gradient_balanced (baseline)" in other.stdout_text
    assert before.items() <= contents(output).items()


def test_a_failed_task_is_tried_again_and_its_error_shown(finished):
    _, output = finished
    before = contents(output)
    # For images with several labels, which these are not.
    failed = run(output, "--loss", "asymmetric", "--retries", 1)
    assert failed.returncode == 1
    assert executed(failed) == ["train-model", "train-model"]
    assert "Retrying" in failed.stdout_text
    error = failed.stderr_text
    assert "'train-model' inside" in error
    assert "Received: loss='asymmetric'" in error
    assert re.search(r"File .*gb_keras/stages/train.py", error)
    assert Path(re.search(r"^All output: (.*)$", error, re.MULTILINE)[1]).is_file()
    assert "\x1b" not in error.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert before.items() <= contents(output).items()


def test_an_interrupt_ends_the_run_before_the_next_training(finished):
    _, output = finished
    process = start(output, "--epochs", 500)
    try:
        for line in process.stdout:
            if line.startswith("Epoch 2/"):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest, error = process.communicate(timeout=60)
    finally:
        # Nothing is left to run for an hour if the interrupt did not end it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Interrupted. The same command goes on" in error
    assert "Executing" not in rest


def test_open_images_is_prepared_again_only_when_its_files_have_changed(tmp_path):
    # Boxes in 90 photographs; the two trainings see each of their crops once.
    put_tree(tmp_path / "photos", images_per_class=30)
    options = ["--image-size", 16, "--epochs", 1, "--dataset"]
    options.append(f"open-images:boxes:{tmp_path}/photos?classes=Cat,Dog,Football")
    first = run(tmp_path / "runs", *options)
    assert first.returncode == 0, first.stderr_text
    assert executed(first)[0] == "prepare-data"
    assert executed(run(tmp_path / "runs", *options)) == []

    # What is broken stops it: nothing is trained, and the report is the message.
    broken = next((tmp_path / "photos/train").iterdir())
    broken.write_text("I am no image")
    failed = run(tmp_path / "runs", *options)
    assert failed.returncode == 1
    assert executed(failed) == ["prepare-data"]
    assert f"train/{broken.name}:" in failed.stderr_text
    assert "not an image" in failed.stderr_text
    assert "--on-error skip" in failed.stderr_text


def test_labels_of_open_images_with_augmentation(tmp_path):
    images = [f"{index:04}" for index in range(60)]
    for image in images:
        put_image(tmp_path / "photos", image)
    put_classes(tmp_path / "photos", "class-descriptions.csv")
    # Every third image says nothing of dogs.
    cats = [(image, "Cat", int(image) % 2) for image in images]
    dogs = [(image, "Dog", int(image) % 4 // 2) for image in images if int(image) % 3]
    put_labels(tmp_path / "photos", cats + dogs)
    process = run(
        tmp_path / "runs",
        *("--dataset", f"open-images:labels:{tmp_path}/photos", "--image-size", 16),
        *("--epochs", 1, "--augmentation", "flip", "--augmentation", "mixup"),
    )
    assert process.returncode == 0, process.stderr_text
    (folder,) = (tmp_path / "runs").glob("train-and-evaluate-*")
    loop = folder / "for-loop-1-iteration-1"
    trained = artifacts(loop / "train-model")["model"]
    config = json.loads((Path(trained["uri"]) / "config.json").read_text())
    assert (config["multi_label"], config["augmentation"]) == (True, ["flip", "mixup"])
    known = np.add(config["train_class_counts"], config["train_absent_counts"])
    assert dict(zip(config["classes"], known, strict=True))["Dog"] < known.max()
    evaluation = Path(artifacts(loop / "evaluate-model")["evaluation"]["uri"])
    metrics = json.loads((evaluation / "metrics.json").read_text())["metrics"]
    assert 0 < metrics["mean_average_precision"] <= 1
    assert "mAP" in process.stdout_text


def test_only_what_runs_here_depends_on_the_files_here(tmp_path, monkeypatch):
    # Only what would be run matters here.
    runs = []

    def remember(pipeline, arguments, output):
        runs.append((pipeline.pipeline_spec, arguments))
        raise OSError("enough")

    monkeypatch.setattr(cli.local_run, "run", remember)
    (tmp_path / "photos").mkdir()
    folder = f"folder:{tmp_path}/photos"
    for number in range(2):
        (tmp_path / f"photos/{number}.png").touch()
        invoke("--local", "--dataset", folder)
    for options in (["--data-version", "mine"], ["--no-cache"]):
        invoke("--local", "--dataset", folder, *options)
    invoke("--local")
    versions = [arguments.get("data_version") for _, arguments in runs]
    assert len(set(versions[:2])) == 2
    assert all(version.startswith("files ") for version in versions[:2])
    assert versions[2:] == ["mine", versions[1], None]
    # Of data that is not there nothing earlier is taken.
    missing = invoke("--local", "--dataset", f"csv:{tmp_path}/none.csv")
    assert missing.exit_code == 2
    assert "not there" in missing.output
    assert len(runs) == len(versions)
    cached = [
        {
            task.caching_options.enable_cache
            for name, task in ir.tasks(spec).items()
            if name in TASKS
        }
        for spec, _ in runs
    ]
    assert cached == [{True}, {True}, {True}, {False}, {True}]
    # One training after the other.
    assert ir.tasks(runs[0][0])["for-loop-1"].iterator_policy.parallelism_limit == 1


def compiled(tmp_path, *options):
    path = tmp_path / "deep" / "pipeline.yaml"
    result = invoke("--compile", path, *options)
    assert result.exit_code == 0, result.output
    assert str(path) in result.output
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return ir.load(path)


def test_compiles_without_options(tmp_path):
    spec = compiled(tmp_path)
    assert spec.pipeline_info.name == "train-and-evaluate"
    assert set(ir.executors(spec)) == {f"exec-{name}" for name in TASKS}
    for name, container in ir.executors(spec).items():
        assert container.image.startswith("gb-keras:")
        assert not container.HasField("resources"), name
    tasks = ir.tasks(spec)
    for name in TASKS:
        assert tasks[name].caching_options.enable_cache
        assert not tasks[name].HasField("retry_policy")
    loop = tasks["for-loop-1"]
    assert loop.task_info.name == "each-loss"
    # Side by side, as many as there are.
    assert loop.iterator_policy.parallelism_limit == 0
    evaluations = tasks["compare-models"].inputs.artifacts["evaluations"]
    assert evaluations.task_output_artifact.producer_task == "for-loop-1"


def test_compiles_with_options(tmp_path):
    spec = compiled(
        tmp_path, "--image", "registry.example/a/b:c", "--cpu", "500m", "--memory", "16Gi",
        "--accelerator", "nvidia.com/gpu", "--accelerator-count", 2, "--retries", 3, "--no-cache",
        "--loss", "focal", "--loss", "ghm_c", "--long-tail-factor", 5, "--jit-compile",
    )  # fmt: skip
    tasks = ir.tasks(spec)
    for name in TASKS:
        assert not tasks[name].caching_options.enable_cache
        assert tasks[name].retry_policy.max_retry_count == 3
    for name, container in ir.executors(spec).items():
        assert container.image == "registry.example/a/b:c"
        resources = container.resources
        if name == "exec-train-model":
            assert resources.resource_cpu_limit == "500m"
            assert resources.resource_memory_limit == "16Gi"
            assert resources.accelerator.resource_type == "nvidia.com/gpu"
            assert resources.accelerator.resource_count == "2"
        else:
            assert not container.HasField("resources")
    parameters = spec.root.input_definitions.parameters
    changed = {
        name: ir.value(each.default_value)
        for name, each in parameters.items()
        if ir.value(each.default_value) != train_and_evaluate.component_spec.inputs[name].default
    }
    assert changed == {"losses": ["focal", "ghm_c"], "long_tail_factor": 5, "jit_compile": True}


def test_a_compilation_that_fails_leaves_the_file_as_it_is(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text("before")
    result = invoke("--compile", path, "--cpu", "lots")
    assert result.exit_code == 2
    assert "Expected cpu to be an amount" in result.stderr
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_parameters_have_the_defaults_of_the_components():
    inputs = train_and_evaluate.component_spec.inputs
    # These have no default there, or, as the batch size of evaluation, another one.
    own = {"dataset", "losses"}
    found = set()
    for component in (prepare_data, evaluate_model, compare_models, train_model):
        for name, entry in component.component_spec.inputs.items():
            if name in inputs.keys() - own and (component, name) != (evaluate_model, "batch_size"):
                assert inputs[name].default == entry.default, name
                found.add(name)
    assert found == inputs.keys() - own


def test_every_parameter_is_an_option_with_its_description():
    command = typer.main.get_command(cli.app)
    options = {parameter.name: parameter for parameter in command.params}
    words = " ".join(re.sub(r"[│─╭╮╰╯]", " ", invoke("--help").output).split())
    for name, parameter in inspect.signature(train_and_evaluate.pipeline_func).parameters.items():
        flag = "--loss" if name == "losses" else f"--{name.replace('_', '-')}"
        assert options[name].opts == [flag]
        assert options[name].default == parameter.default
        assert flag in words
        assert train_and_evaluate.component_spec.inputs[name].description.split()[0] in words
    assert all(parameter.help for parameter in command.params)


def test_documents_say_what_the_command_takes():
    command = typer.main.get_command(cli.app)
    found = []
    for path in ("README.md", "docs/cluster.md", "pipelines/train_and_evaluate/README.md"):
        for words in documents.commands(path):
            if words[:3] == ["python", "-m", "pipelines.train_and_evaluate"]:
                found.append(command.make_context("main", words[3:]).params)
    assert {each["nodes"] for each in found} == {1, 4}
    # What the tasks get of a cluster, each option of it, is in the table.
    table = documents.text("pipelines/train_and_evaluate/README.md")
    for name in cli._OF_CLUSTER | {"retries"}:
        assert f"`--{name.replace('_', '-')}" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "3"], "one of --local, --host and --compile. Received: none"),
        (["--local", "--host", "http://a"], "Received: --local, --host"),
        (["--local", "--cpu", "2", "--run-name", "a"], "with --local. Received: --cpu, --run-name"),
        (["--host", "http://a", "--output", "b"], "with --host. Received: --output"),
        (["--compile", "a.yaml", "--token", "b"], "with --compile. Received: --token"),
        (
            ["--compile", "a.yaml", "--loss", "focall"],
            "Received: loss='focall'. Did you mean 'focal'",
        ),
        (["--compile", "a.yaml", "--dataset", "digts"], "Received: 'digts'. Did you mean 'digits'"),
        (["--compile", "a.txt"], "ends with .yaml, as KFP asks. Received: a.txt"),
        (["--compile", "a.yaml", "--memory", "much"], "memory to be an amount as Kubernetes"),
        (["--local", "--nodes", "2", "--claim", "c"], "with --local. Received: --claim, --nodes"),
        (
            ["--compile", "a.yaml", "--mount", "/data"],
            "Expected --claim with --mount, which has no",
        ),
        (["--host", "kubeflow.example"], "http:// or https://. Received: kubeflow.example"),
    ],
)
def test_mistakes_are_said_and_nothing_is_done(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


class Cluster(http.server.BaseHTTPRequestHandler):
    """The part of the API of Kubeflow Pipelines, version v2beta1, that a submission uses."""

    def do_GET(self):
        path = urllib.parse.urlparse(self.path).path
        self.answer({"multi_user": False} if path == "/apis/v2beta1/healthz" else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Authorization"], body))
        if self.headers["Authorization"] == "Bearer expired":
            self.answer({"error": "the token has expired"}, 401)
        elif self.path.endswith("/experiments"):
            self.answer({**body, "experiment_id": "experiment-1"})
        else:
            self.answer({**body, "run_id": "run-1"})

    def answer(self, value, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def cluster():
    with http.server.ThreadingHTTPServer(("localhost", 0), Cluster) as server:
        server.posted = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_submits_to_a_cluster(cluster, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "secret")
    host = f"http://localhost:{cluster.server_port}"
    result = invoke(
        "--host", host, "--experiment", "long tails", "--run-name", "first",
        "--namespace", "team", "--image", "a:1", "--loss", "focal", "--epochs", 7,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{host}/#/runs/details/run-1" in result.output
    (first, authorization, experiment), (second, _, posted) = cluster.posted
    assert first == "/apis/v2beta1/experiments"
    assert authorization == "Bearer secret"
    assert experiment == {"display_name": "long tails", "namespace": "team"}
    assert second == "/apis/v2beta1/runs"
    assert posted["display_name"] == "first"
    assert posted["experiment_id"] == "experiment-1"
    assert posted["runtime_config"]["parameters"] == {"losses": ["focal"], "epochs": 7}
    spec = json_format.ParseDict(posted["pipeline_spec"], PipelineSpec())
    assert {each.image for each in ir.executors(spec).values()} == {"a:1"}


def test_what_tasks_get_of_a_cluster_is_submitted(cluster):
    options = ("--nodes", 2, "--claim", "training", "--pipeline-root", "gs://artifacts/runs")
    result = invoke("--host", f"http://localhost:{cluster.server_port}", *options)
    assert result.exit_code == 0, result.output
    (_, _, posted) = cluster.posted[-1]
    spec = json_format.ParseDict(posted["pipeline_spec"]["pipeline_spec"], PipelineSpec())
    assert spec.default_pipeline_root == "gs://artifacts/runs"
    tasks = ir.kubernetes(posted["pipeline_spec"]["platform_spec"])
    assert set(tasks) == {"exec-prepare-data", "exec-train-on-cluster"}
    (mount,) = tasks["exec-train-on-cluster"].pvc_mount
    assert (mount.constant, mount.mount_path) == ("training", "/workspace")


def test_a_run_without_names_gets_those_of_the_pipeline(cluster):
    assert invoke("--host", f"http://localhost:{cluster.server_port}").exit_code == 0
    (_, authorization, experiment), (_, _, posted) = cluster.posted
    assert authorization is None
    assert experiment["display_name"] == "Default"
    assert posted["display_name"].startswith("train-and-evaluate")


def test_what_a_cluster_says_is_shown(cluster):
    host = f"http://localhost:{cluster.server_port}"
    result = invoke("--host", host, "--token", "expired")
    assert result.exit_code == 1
    assert f"Error: {host} answered 401" in result.stderr
    assert "the token has expired" in result.stderr


def test_a_cluster_that_is_not_there_is_said():
    result = invoke("--host", "http://localhost:1")
    assert result.exit_code == 1
    assert "Expected the KFP API at http://localhost:1. Received no answer" in result.stderr
    assert "Connection refused" in result.stderr
    assert "HTTPConnectionPool" not in result.stderr
