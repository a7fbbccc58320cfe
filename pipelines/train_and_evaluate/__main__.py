"""The command line of the pipeline: run it here, submit it to a cluster, or compile it."""

import inspect
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import kfp
import kfp.compiler
import kfp_server_api
import rich.markup
import typer
import urllib3
from kfp.dsl.graph_component import GraphComponent

from . import local_run, options, settings
from .pipeline import make_pipeline, train_and_evaluate
from .settings import Settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_WHERE = "Where (one of these)"
_LOCAL = "With --local"
_CLUSTER = "With --host"
_EXPERIMENT = "Data, training, evaluation"
# Options that mean nothing in one of the three places.
_OF_LOCAL = {"output"}
_OF_HOST = {"experiment", "run_name", "namespace", "token"}
_OF_CLUSTER = {
    *("image", "image_pull_secret", "pipeline_root", "claim", "mount", "secret"),
    *("cpu", "memory", "accelerator", "accelerator_count", "shared_memory"),
    *("node_selector", "toleration", "nodes", "runtime"),
}
# Options that mean nothing without another.
_ONLY_WITH = {"accelerator_count": "accelerator", "mount": "claim", "runtime": "nodes"}


# Calls a function of gb_keras with each argument. By the command's name gb_keras does without
# TensorFlow where it can: seconds, and lines on the terminal.
_CALL = """
import importlib, sys
module, name, *arguments = sys.argv[1:]
sys.argv[0] = "gb-keras"
function = getattr(importlib.import_module(module), name)
try:
    for argument in arguments:
        print(function(argument))
except (ValueError, OSError) as error:
    sys.exit(str(error))
"""


def _with_parameters(pipeline: GraphComponent) -> Callable[[Callable], Callable]:
    """Give a command with `**parameters` an option for each parameter of the pipeline."""

    def decorate(command: Callable) -> Callable:
        signature = inspect.signature(command)
        own = [each for each in signature.parameters.values() if each.kind != each.VAR_KEYWORD]
        theirs = []
        for name, parameter in inspect.signature(pipeline.pipeline_func).parameters.items():
            # An option that is given once for each loss reads better in the singular.
            flag = "--loss" if name == "losses" else f"--{name.replace('_', '-')}"
            option = typer.Option(
                flag,
                # Not markup: a part in brackets is optional.
                help=rich.markup.escape(pipeline.component_spec.inputs[name].description),
                rich_help_panel=_EXPERIMENT,
            )
            annotation = Annotated[parameter.annotation, option]
            theirs.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=annotation))
        command.__signature__ = signature.replace(parameters=own + theirs)
        command.__annotations__ = {each.name: each.annotation for each in own + theirs}
        return command

    return decorate


@app.command(
    no_args_is_help=True,
    epilog="Examples:\n\n"
    "python -m pipelines.train_and_evaluate --local --dataset digits --long-tail-factor 20\n\n"
    "python -m pipelines.train_and_evaluate --host http://localhost:8080 --dataset mnist5k "
    "--image registry.example/gb-keras:0.1.0 --accelerator nvidia.com/gpu --memory 16Gi\n\n"
    "python -m pipelines.train_and_evaluate --compile pipeline.yaml",
)
@_with_parameters(train_and_evaluate)
def main(
    context: typer.Context,
    *,
    local: Annotated[
        bool,
        typer.Option("--local", help="Run it on this machine.", rich_help_panel=_WHERE),
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Submit it to the Kubeflow Pipelines of this address.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    compile_to: Annotated[
        Path | None,
        typer.Option(
            "--compile",
            metavar="FILE.yaml",
            help="Write it to a file, with the given parameters as its defaults.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for the results. Each run has a folder of its own in it; nothing is "
            "overwritten.",
            rich_help_panel=_LOCAL,
        ),
    ] = Path("runs"),
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Experiment to put the run in. Default: Default.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    run_name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run. Default: name of the pipeline and the time.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            help="Namespace of the run, where the cluster has several users.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KFP_TOKEN",
            help="Bearer token to log in with. The variable keeps it out of the process list.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    image: options.Image = None,
    image_pull_secret: options.ImagePullSecret = None,
    pipeline_root: options.PipelineRoot = None,
    claim: options.Claim = None,
    mount: options.Mount = "/workspace",
    secret: options.Secret = None,
    retries: options.Retries = 0,
    cache: options.Cache = True,
    cpu: options.Cpu = None,
    memory: options.Memory = None,
    accelerator: options.Accelerator = None,
    accelerator_count: options.AcceleratorCount = 1,
    shared_memory: options.SharedMemory = None,
    node_selector: options.NodeSelector = None,
    toleration: options.Toleration = None,
    nodes: options.Nodes = 1,
    runtime: options.Runtime = "gb-keras",
    **parameters: Any,
) -> None:
    """Train with several losses on one data set, all else equal, and compare the models."""
    given = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    arguments = {name: value for name, value in parameters.items() if name in given}
    try:
        _check(given)
        chosen = Settings(
            image=image,
            retries=retries,
            caching=cache,
            image_pull_secrets=image_pull_secret or (),
            pipeline_root=pipeline_root,
            claim=claim,
            mount=mount,
            secrets=[settings.secret(text) for text in secret or ()],
            cpu=cpu,
            memory=memory,
            accelerator=accelerator,
            accelerator_count=accelerator_count,
            shared_memory=shared_memory,
            node_selector=dict(map(settings.label, node_selector or ())),
            tolerations=[settings.toleration(text) for text in toleration or ()],
            nodes=nodes,
            runtime=runtime,
            # Trainings side by side would be no faster here, and their progress unreadable.
            parallelism=1 if local else 0,
        )
        _check_effect(given)
        # What training would refuse after the data are prepared, or on a cluster.
        if "losses" in given:
            _asked("gb_keras.stages.train_config", "check_loss", *parameters["losses"])
        # A name alone: what it stands for may be where the cluster sees it, not this machine.
        if "dataset" in given and not local:
            _asked("gb_keras.data.catalogue", "full_name", parameters["dataset"])
        pipeline = make_pipeline(chosen)
        if local:
            if "data_version" not in given:
                arguments |= _version(parameters["dataset"])
            _run(pipeline, arguments, output)
        elif host is not None:
            _submit(
                pipeline,
                arguments,
                host=host,
                namespace=namespace,
                token=token,
                experiment=experiment,
                run_name=run_name,
            )
        elif compile_to is not None:
            _compile(pipeline, arguments, compile_to)
            typer.echo(f"Compiled to {compile_to}")
    except KeyboardInterrupt:
        hint = " The same command goes on after the last finished task." if local else ""
        _fail(f"Interrupted.{hint}", 130)
    except local_run.PipelineError as error:
        _fail(str(error), 1)
    except kfp_server_api.ApiException as error:
        _fail(f"{host} answered {error.status} {error.reason}: {error.body}", 1)
    except urllib3.exceptions.HTTPError as error:
        # With retries used up, its words are those of the pool; the reason is within.
        reason = getattr(error, "reason", None) or error
        _fail(f"Expected the KFP API at {host}. Received no answer: {reason}.", 1)
    except OSError as error:
        _fail(str(error), 1)
    except ValueError as error:
        _fail(str(error), 2)


def _check(given: set[str]) -> None:
    """Refuse options that do not go together."""
    places = [name for name in ("local", "host", "compile_to") if name in given]
    if len(places) != 1:
        raise ValueError(
            f"Expected one of --local, --host and --compile. Received: {_flags(places) or 'none'}."
        )
    senseless = {
        "local": _OF_HOST | _OF_CLUSTER,
        "host": _OF_LOCAL,
        "compile_to": _OF_LOCAL | _OF_HOST,
    }[places[0]]
    if given & senseless:
        raise ValueError(
            f"Expected options that have an effect with {_flags(places)}. Received: "
            f"{_flags(sorted(given & senseless))}. Leave them out."
        )


def _check_effect(given: set[str]) -> None:
    """Refuse options that have no effect without another."""
    for option, needed in _ONLY_WITH.items():
        if option in given and needed not in given:
            raise ValueError(
                f"Expected {_flags([needed])} with {_flags([option])}, which has no effect without "
                "it. Received none."
            )


def _flags(names: Iterable[str]) -> str:
    return ", ".join(
        "--compile" if name == "compile_to" else f"--{name.replace('_', '-')}" for name in names
    )


def _version(dataset: str) -> dict[str, str]:
    """As `data_version` another text for each state of the files of a data set that has some."""
    version = _asked("gb_keras.data.source_version", "source_version", dataset)
    return {"data_version": version} if version else {}


def _asked(module: str, function: str, *arguments: str) -> str:
    """What a function says of arguments, in a process of its own: gb_keras is not loaded here."""
    found = subprocess.run(
        [sys.executable, "-c", _CALL, module, function, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if found.returncode:
        raise ValueError(found.stderr.strip())
    return found.stdout.strip()


def _run(pipeline: GraphComponent, arguments: Mapping[str, Any], output: Path) -> None:
    """Run the pipeline here, and print the table and where to read more."""
    outputs = local_run.run(pipeline, arguments, output)
    comparison = outputs["comparison"]
    table = Path(outputs["table"].path).read_text(encoding="utf-8")
    typer.echo(f"\n{table.strip()}\n")
    typer.echo(f"Comparison: {comparison.path}/comparison.html")
    for folder in comparison.metadata["evaluations"]:
        metrics = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))
        typer.echo(f"{metrics['run']['loss']}:")
        typer.echo(f"  report: {folder}/report.html")
        typer.echo(f"  logs:   {metrics['run']['log_dir']}")
        _link(output / "logs" / metrics["run"]["loss"], metrics["run"]["log_dir"])
    tensorboard = Path(sys.executable).with_name("tensorboard")
    typer.echo(f"See how the gradients were balanced: {tensorboard} --logdir {output / 'logs'}")


def _link(name: Path, target: str) -> None:
    """Make a link, in place of an older one, so that TensorBoard shows a run under a short name."""
    name.parent.mkdir(parents=True, exist_ok=True)
    partial = name.with_name(f".{name.name}.{os.getpid()}")
    partial.symlink_to(Path(target).resolve(), target_is_directory=True)
    partial.replace(name)


def _submit(
    pipeline: GraphComponent,
    arguments: Mapping[str, Any],
    *,
    host: str,
    namespace: str | None,
    token: str | None,
    experiment: str | None,
    run_name: str | None,
) -> None:
    """Start a run on a cluster; KFP prints the address of its page."""
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"Expected an address with http:// or https://. Received: {host}.")
    with tempfile.TemporaryDirectory() as folder:
        # KFP names a run without a name after this file.
        file = Path(folder) / "train-and-evaluate.yaml"
        kfp.compiler.Compiler().compile(pipeline, str(file))
        with warnings.catch_warnings():
            # Said of every cluster, old or new.
            warnings.filterwarnings("ignore", "This client only works", FutureWarning)
            client = kfp.Client(host=host, existing_token=token)
        client.create_run_from_pipeline_package(
            str(file),
            arguments=dict(arguments),
            run_name=run_name,
            experiment_name=experiment,
            namespace=namespace,
        )


def _compile(pipeline: GraphComponent, arguments: Mapping[str, Any], file: Path) -> None:
    """Write the pipeline to a file, whole or not at all."""
    if file.suffix not in (".yaml", ".yml"):
        raise ValueError(f"Expected a file that ends with .yaml, as KFP asks. Received: {file}.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        partial = Path(folder) / file.name
        kfp.compiler.Compiler().compile(pipeline, str(partial), pipeline_parameters=dict(arguments))
        os.replace(partial, file)


def _fail(message: str, code: int) -> NoReturn:
    typer.secho(f"Error: {message}", fg="red", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="python -m pipelines.train_and_evaluate")
