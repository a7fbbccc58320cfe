"""The commands, from the command line to the API of a cluster."""

import inspect
import json
import re
import subprocess
import sys

import pytest
import typer
import yaml
from typer.testing import CliRunner

from gb_keras import cli
from gb_keras.cluster import manifests
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.job import TrainingJob
from gb_keras.stages.prepare import prepare
from tests import documents
from tests.cluster.api import JOBS, RUNTIMES, SERVICES, terminated

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
SUBMIT = ("submit", "train", "--image", "gb-keras:0.1.0", "--name", "digits")
TRAIN = ("--", "--data", "/workspace/digits", "--output", "/workspace/run", "--epochs", "3")


def invoke(*arguments):
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def run_at_once(api, outcome, **pod):
    """Let the cluster run the job to its end as soon as it is created."""

    def react(request):
        name = request.data["metadata"]["name"]
        api.log(f"{name}-0", "Epoch 3/3")
        api.pod(f"{name}-0", **pod)
        api.condition(name, *outcome)
        return request.data

    api.server[JOBS, "post"] << react


def test_a_dry_run_prints_what_is_submitted_and_touches_no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = invoke(
        *SUBMIT, "--install-runtime", "--nodes", 2, "--cpu", 4, "--memory", "16Gi", "--gpu", 1,
        "--claim", "training", "--dry-run", *TRAIN,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    runtime, job = yaml.safe_load_all(result.stdout)
    assert runtime == manifests.training_runtime("gb-keras", "gb-keras:0.1.0")
    expected = TrainingJob(
        "digits",
        "gb-keras:0.1.0",
        (*TRAIN[1:], "--resume"),
        num_nodes=2,
        cpu="4",
        memory="16Gi",
        gpu=1,
        claim="training",
    )
    assert job == manifests.train_job(expected)
    result = invoke(*SUBMIT, "--tf-job", "--dry-run", "--nodes", 2, *TRAIN)
    assert yaml.safe_load(result.stdout)["spec"]["tfReplicaSpecs"]["Worker"]["replicas"] == 2


PODS = """
node_selector: {gpu: h100}
tolerations:
  - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
secrets:
  - {name: hub, key: token, env: HF_TOKEN}
  - {name: cloud, mount: /etc/cloud}
image_pull_secrets: [registry]
shared_memory: 8Gi
"""


@pytest.mark.parametrize("command", ["train", "search"])
def test_settings_of_pods_come_from_a_file(tmp_path, command):
    (tmp_path / "pods.yaml").write_text(PODS)
    result = invoke(
        "submit", command, "--image", "gb-keras:0.1.0", "--name", "digits", "--claim", "training",
        "--pods", tmp_path / "pods.yaml", "--dry-run", *TRAIN,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    job = yaml.safe_load(result.stdout)
    if command == "search":
        job = job["spec"]["trialTemplate"]["trialSpec"]
    (patch,) = job["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = nodes["template"]["spec"]["template"]["spec"]
    written = yaml.safe_load(PODS)
    assert pod["nodeSelector"] == written["node_selector"]
    assert pod["tolerations"] == written["tolerations"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert {"secret": {"secretName": "cloud"}, "name": "secret-1"} in pod["volumes"]
    sizes = [each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each]
    assert sizes == ["8Gi"]
    variables = [each["name"] for each in job["spec"]["trainer"]["env"]]
    assert "HF_TOKEN" in variables


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodeselector: {gpu: h100}", "nodeselector"),
        ("node_selector: {gpu: 100}", "node_selector: gpu: Input should be a valid string"),
        ("node_selector: h100", "node_selector: Input should be a valid dictionary"),
        ("shared_memory: 8 GB", "shared_memory"),
        ("secrets: [{name: hub}]", "name, key and env"),
        ("- gpu", "expected settings of pods"),
        ("{", "expected a YAML file"),
        (None, "No such file"),
    ],
)
def test_what_is_no_settings_of_pods_is_refused(tmp_path, text, message):
    path = tmp_path / "pods.yaml"
    if text is not None:
        path.write_text(text)
    result = invoke(*SUBMIT, "--claim", "training", "--pods", path, "--dry-run", *TRAIN)
    assert result.exit_code == 2
    assert str(path) in result.output
    assert message in " ".join(result.output.split())


def test_the_command_in_the_manifest_trains_and_its_model_is_exported(tmp_path):
    prepare("digits", tmp_path / "digits")
    run, serving = tmp_path / "run", tmp_path / "serving"
    result = invoke(
        *SUBMIT, "--claim", "training", "--mount", tmp_path, "--dry-run", "--",
        "--data", tmp_path / "digits", "--output", run, "--epochs", 1,
    )  # fmt: skip
    trainer = yaml.safe_load(result.stdout)["spec"]["trainer"]
    program, *arguments = [*trainer["command"], *trainer["args"]]
    assert program == "gb-keras"
    assert invoke(*arguments).exit_code == 0
    result = invoke("export", "--run", run, "--output", serving)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"SavedModel: {serving / '1'}\n"
    assert len(json.loads((serving / "1" / "assets.extra" / "classes.json").read_text())) == 10
    assert invoke("export", "--run", tmp_path, "--output", tmp_path / "x").exit_code == 2


def test_a_training_is_created_followed_and_its_artifacts_named(api):
    run_at_once(api, ("Complete",), phase="Succeeded", **terminated("Completed", 0))
    result = invoke(*SUBMIT, "--install-runtime", "--claim", "training", *TRAIN)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "Epoch 3/3",
        "Artifacts: /workspace/run, on the volume training mounted at /workspace",
    ]
    assert "Created TrainJob digits in the namespace research." in result.stderr
    assert len(api.requests("post", RUNTIMES)) == len(api.requests("post", JOBS)) == 1


def test_without_a_volume_the_user_is_told_that_artifacts_may_go(api):
    run_at_once(api, ("Complete",), phase="Succeeded")
    result = invoke(*SUBMIT, *TRAIN)
    assert result.exit_code == 0, result.output
    assert "only if the runtime mounts a volume there; name one with --claim" in result.stdout


def test_jobs_without_a_name_get_one_each():
    names = set()
    for _ in range(2):
        result = invoke("submit", "train", "--image", "i", "--dry-run", *TRAIN)
        names.add(yaml.safe_load(result.stdout)["metadata"]["name"])
    assert len(names) == 2


def test_a_training_that_fails_is_an_exit_code_and_a_reason(api):
    run_at_once(api, ("Failed", "JobsFailed", "x"), phase="Failed", **terminated("OOMKilled", 137))
    result = invoke(*SUBMIT, *TRAIN)
    assert result.exit_code == 1
    assert "Epoch 3/3" in result.stdout
    assert "Artifacts" not in result.stdout
    reason = "JobsFailed: x; node 0: OOMKilled (exit code 137)."
    assert f"Error: The job digits failed: {reason}" in result.stderr


def test_time_that_is_up_is_an_exit_code_and_the_way_on(api):
    result = invoke(*SUBMIT, "--timeout", 1, *TRAIN)
    assert result.exit_code == 1
    assert "See more of it: gb-keras submit follow digits --namespace research" in result.stderr
    api.condition("digits", "Complete")
    assert invoke("submit", "follow", "digits").exit_code == 0
    result = invoke("submit", "delete", "digits")
    assert result.exit_code == 0
    assert "Deleted TrainJob digits in the namespace research." in result.stderr
    assert invoke("submit", "follow", "digits").exit_code == 1


def test_an_interruption_leaves_the_job_and_says_how_to_come_back(api, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Cluster, "pods", interrupt)
    result = invoke(*SUBMIT, *TRAIN)
    assert result.exit_code == 130
    assert (
        "The job goes on. See more of it: gb-keras submit follow digits --namespace"
        in result.stderr
    )
    assert not api.job("digits").deleted


@pytest.mark.parametrize(
    ("options", "train_options", "message"),
    [
        ((), ("--data", "/d"), "Missing option '--output'"),
        ((), (*TRAIN[1:], "--epoch", "3"), "No such option: --epoch"),
        ((), (*TRAIN[1:], "--batch-size", "many"), "--batch-size"),
        ((), (*TRAIN[1:], "--loss", "focall"), "Did you mean 'focal'?"),
        ((), (*TRAIN[1:], "--optimizer", "adan"), "Did you mean 'adam'?"),
        ((), (*TRAIN[1:], "--schedule", "cosin"), "Did you mean 'cosine'?"),
        ((), (*TRAIN[1:], "--dtype-policy", "float16"), "Expected dtype_policy"),
        ((), (*TRAIN[1:], "--backbone", "resnet33"), "Did you mean 'resnet3"),
        (("--claim", "c"), ("--data", "/d", "--output", "runs/a"), "--output /workspace/a"),
        (("--claim", "c"), ("--data", "d", "--output", "/workspace/a"), "--data /workspace/d"),
        (("--cpu", "many"), TRAIN[1:], "cpu='many'"),
        (("--tf-job",), TRAIN[1:], "Expected --tf-job with --dry-run"),
        (("--install-runtime", "--runtime", "cluster:x"), TRAIN[1:], "administrator"),
    ],
)
def test_what_can_be_seen_beforehand_never_reaches_the_cluster(
    options, train_options, message, monkeypatch, tmp_path
):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = invoke(*SUBMIT, *options, "--", *train_options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())


def test_a_number_of_yaml_is_a_text_where_kubernetes_wants_one():
    """PyYAML takes 1e-4 for a text; the YAML of kubectl does not."""
    result = invoke(*SUBMIT, "--dry-run", *TRAIN, "--learning-rate", "1e-4")
    assert "- '1e-4'\n" in result.stdout
    assert yaml.safe_load(result.stdout)["spec"]["trainer"]["args"][-2] == "1e-4"
    assert "Without --claim" in result.stderr


def test_a_saved_backbone_of_the_cluster_is_not_looked_for_here():
    result = invoke(*SUBMIT, "--dry-run", *TRAIN, "--backbone", "/workspace/run-1")
    assert result.exit_code == 0, result.output
    result = invoke(*SUBMIT, "--dry-run", *TRAIN, "--resume")
    assert yaml.safe_load(result.stdout)["spec"]["trainer"]["args"].count("--resume") == 1


def test_a_cluster_that_refuses_is_one_line_and_an_exit_code(api):
    api.refuse("post", JOBS, 403, "Forbidden", "you cannot create trainjobs")
    result = invoke(*SUBMIT, *TRAIN)
    assert result.exit_code == 1
    hint, line = result.stderr.splitlines()
    assert hint.startswith("Without --claim")
    assert line.startswith("Error: Could not create the TrainJob digits.")
    # With --debug the error itself comes through, for its traceback.
    assert isinstance(invoke("--debug", "submit", "follow", "x").exception, ClusterError)


def run_without_the_packages_for_a_cluster(*arguments):
    program = f"""
        import sys
        sys.modules.update(kubeflow=None, kubernetes=None, yaml=None)
        sys.argv = ["gb-keras", *{arguments}]
        from gb_keras.__main__ import main
        main()
    """
    return subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(program)], capture_output=True, text=True
    )


def test_without_the_packages_for_a_cluster_there_is_help():
    result = run_without_the_packages_for_a_cluster("submit", "train", "--help")
    assert result.returncode == 0, result.stderr
    assert "--install-runtime" in result.stdout


def test_without_the_packages_for_a_cluster_the_user_is_told_what_to_install():
    result = run_without_the_packages_for_a_cluster("submit", "follow", "digits")
    assert result.returncode == 1
    assert "pip install 'gb-keras[stages,cluster]'" in " ".join(result.stderr.split())


def test_serve(api):
    command = ("submit", "serve", "digits", "--model", "pvc://training/digits", "--cpu", 2)
    printed = invoke(*command, "--dry-run").stdout
    assert not api.requests("post", SERVICES)
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert api.requests("post", SERVICES)[0].data == yaml.safe_load(printed)
    assert "kubectl get inferenceservice digits -n research" in result.stderr
    assert invoke("submit", "serve", "digits", "--model", "here").exit_code == 2


def test_the_document_says_what_the_commands_take():
    seen = set()
    for program, *words in documents.commands("docs/cluster.md"):
        if program == "gb-keras":
            command = typer.main.get_command(cli.app)
            while words and words[0] in getattr(command, "commands", ()):
                command = command.commands[words.pop(0)]
            command.make_context(command.name, words)
            seen.add(command.name)
    assert {"train", "setup", "serve"} <= seen
    submit = typer.main.get_command(cli.app).commands["submit"]
    for parameter in submit.commands["train"].params:
        if parameter.name not in ("help", "train_options"):
            assert f"`{parameter.opts[0]}" in documents.text("docs/cluster.md")


def test_help_names_every_option():
    group = typer.main.get_command(cli.app).commands["submit"]
    assert list(group.commands) == ["train", "follow", "delete", "serve", "setup", "search"]
    for name, command in group.commands.items():
        result = invoke("submit", name, "--help")
        words = " ".join(result.output.split())
        assert re.search(rf"Example: gb-keras submit {name} \S", words)
        for parameter in command.params:
            if parameter.name != "help":
                assert parameter.help, f"{name} {parameter.name} has no help"
                assert (parameter.metavar or parameter.opts[0]) in words
