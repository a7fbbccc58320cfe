"""The image of the Dockerfile: `make image-check` builds it and runs these tests in it."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
from packaging.utils import canonicalize_name

from components.data_processing.prepare_data import prepare_data
from components.training.train_model import train_model
from tests.image.engine import Container
from tests.kubeflow import ir

IMAGE = os.environ.get("GB_KERAS_IMAGE")
if not IMAGE:
    pytest.skip("no image was built: `make image-check` does", allow_module_level=True)

pytestmark = pytest.mark.xdist_group("image")


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    return Container(os.environ["GB_KERAS_ENGINE"], IMAGE, tmp_path_factory.mktemp("output"))


def test_version(container):
    assert container.run("gb-keras", "--version").strip() == (
        f"gb-keras {importlib.metadata.version('gb-keras')}"
    )


def test_it_says_what_it_is_and_is_not_root(container):
    config = container.config()
    assert config["User"] == "1000"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == importlib.metadata.version("gb-keras")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert {"title", "description"} <= {name.rpartition(".")[2] for name in labels}


@pytest.mark.parametrize("name", ["gcc", "cc", "make", "git"])
def test_it_holds_no_tools_to_build_with(container, name):
    assert container.run("sh", "-c", f"command -v {name} || echo none").strip() == "none"


def test_it_holds_no_caches(container):
    found = container.run(
        "sh", "-c", "ls -d /root/.cache/* /home/*/.cache/* /wheels /source 2>/dev/null || true"
    )
    assert found == ""


def test_the_root_file_system_cannot_be_written_to(container):
    with pytest.raises(RuntimeError, match="Read-only file system"):
        container.run("sh", "-c", "touch /opt/gb-keras/here")


@pytest.fixture(scope="module")
def bill(container):
    """Version of each package that the image says it holds, by name."""
    text = container.run("cat", "/opt/gb-keras/bill-of-materials.cdx.json")
    components = json.loads(text)["components"]
    return {canonicalize_name(each["name"]): each["version"] for each in components}


def test_its_bill_of_materials_lists_what_is_installed(container, bill):
    program = (
        "from importlib.metadata import distributions as found; import json;"
        "print(json.dumps([(each.name, each.version) for each in found()]))"
    )
    installed = json.loads(container.run("python3", "-c", program))
    assert bill == {canonicalize_name(name): version for name, version in installed}
    assert {"tensorflow", "gb-keras"} <= set(bill)


def test_no_package_has_a_known_vulnerability(bill, tmp_path):
    published = sorted(f"{name}=={bill[name]}" for name in bill if name != "gb-keras")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(published), encoding="utf-8")
    audit = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--requirement", requirements, "--no-deps"),
            *("--disable-pip", "--format", "json", "--progress-spinner", "off"),
        ],
        capture_output=True,
        text=True,
    )
    if not audit.stdout:
        pytest.skip(f"vulnerabilities were not looked for: {audit.stderr.strip()[-200:]}")
    found = json.loads(audit.stdout)["dependencies"]
    # A mirror of packages without the database answers as if it had never heard of any.
    unknown = [each["name"] for each in found if "skip_reason" in each]
    if len(unknown) == len(published):
        pytest.skip("vulnerabilities were not looked for: their database is not reachable")
    assert not unknown
    assert not {each["name"]: each["vulns"] for each in found if each["vulns"]}


def test_from_data_to_an_evaluation(container):
    shell = (
        "gb-keras prepare --data digits --long-tail-factor 20 --output /mnt/data"
        " && gb-keras train --data /mnt/data --output /mnt/run --epochs 2"
        " && gb-keras evaluate --run /mnt/run --data /mnt/data --output /mnt/evaluation"
    )
    container.run("sh", "-c", shell)
    metrics = json.loads((container.folder / "evaluation/metrics.json").read_text())["metrics"]
    assert 0 < metrics["balanced_accuracy"] <= 1
    assert (container.folder / "evaluation/report.html").is_file()


def test_components_run_by_the_command_that_a_cluster_gives_them(container, tmp_path):
    """The launcher of a cluster fills `{{$}}` with where inputs are and outputs are wanted."""

    def run(component, values, **inputs):
        spec = ir.compile_spec(component, tmp_path)
        (command,) = ir.executors(spec).values()
        (definition,) = spec.components.values()
        parameters = definition.input_definitions.parameters.items()
        defaults = {
            name: ir.value(each.default_value)
            for name, each in parameters
            if each.HasField("default_value")
        }
        # Whole numbers are written without a point.
        defaults = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in defaults.items()
        }
        outputs = {
            name: _artifact(name, each.artifact_type.schema_title)
            for name, each in definition.output_definitions.artifacts.items()
        }
        executor_input = {
            "inputs": {"parameterValues": defaults | values, "artifacts": inputs},
            "outputs": {"artifacts": outputs, "outputFile": f"/mnt/{component.name}.json"},
        }
        filled = [
            argument.replace("{{$}}", json.dumps(executor_input)) for argument in command.args
        ]
        container.run(*command.command, *filled)
        return json.loads((container.folder / f"{component.name}.json").read_text())["artifacts"]

    prepared = run(prepare_data, {"data": "digits"})
    assert (container.folder / "dataset/manifest.json").is_file()
    trained = run(train_model, {"epochs": 1}, dataset=prepared["dataset"])
    assert (container.folder / "model/model.keras").is_file()
    (metrics,) = trained["metrics"]["artifacts"]
    assert metrics["metadata"]["val_loss"] > 0


def _artifact(name, schema_title):
    kind = {"schemaTitle": schema_title, "schemaVersion": "0.0.1"}
    return {"artifacts": [{"name": name, "type": kind, "uri": f"/mnt/{name}", "metadata": {}}]}
