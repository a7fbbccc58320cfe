"""The commands `gb-keras submit ...` and `gb-keras export`: arguments in, cluster called.

What a command needs is imported by it, so that help is fast.
"""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from gb_keras.cluster.errors import ClusterError

if TYPE_CHECKING:
    from gb_keras.cluster.client import Cluster
    from gb_keras.cluster.manifests import Manifest

submit = typer.Typer(
    no_args_is_help=True,
    help="Train and serve on a Kubernetes cluster, with Kubeflow Trainer and KServe.",
)

_CLUSTER = "Cluster"
_RESOURCES = "Resources"
# What the user can mend in the command itself.
_USAGE = (ValueError, FileNotFoundError, FileExistsError)

JobName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the job.")]
Cpu = Annotated[
    str | None,
    typer.Option(
        help="CPUs, such as 4 or 500m. Default: what the runtime says.",
        show_default=False,
        rich_help_panel=_RESOURCES,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory, such as 16Gi. Default: what the runtime says.",
        show_default=False,
        rich_help_panel=_RESOURCES,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        help="Namespace. Default: that of the context.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
KubeContext = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: the current one.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the manifests as YAML, and touch no cluster.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds to wait for the end of the job, which goes on after them. Default: no end.",
        min=1,
        show_default=False,
    ),
]


@submit.command(
    "train",
    epilog="Example:\n\n"
    "gb-keras submit train --image registry.example/gb-keras:0.1.0 --install-runtime "
    "--cpu 4 --memory 16Gi --gpu 1 --claim training -- --data /workspace/digits-lt "
    "--output /workspace/runs/balanced --epochs 30",
)
def submit_train(
    context: typer.Context,
    train_options: Annotated[
        list[str],
        typer.Argument(
            metavar="-- TRAIN_OPTIONS",
            help="Options of `gb-keras train`, after a `--`. Paths are those in the cluster.",
        ),
    ],
    image: Annotated[
        str, typer.Option(help="Container image with gb_keras, as its Dockerfile builds it.")
    ],
    runtime: Annotated[
        str,
        typer.Option(
            help="TrainingRuntime of the namespace, or cluster:NAME for a ClusterTrainingRuntime.",
            rich_help_panel=_CLUSTER,
        ),
    ] = "gb-keras",
    install_runtime: Annotated[
        bool,
        typer.Option(
            "--install-runtime",
            help="Create the TrainingRuntime of that name first, or bring ours up to date.",
            rich_help_panel=_CLUSTER,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the job. Default: train- and six signs.", show_default=False),
    ] = None,
    nodes: Annotated[
        int,
        typer.Option(help="Nodes that train together.", min=1, rich_help_panel=_RESOURCES),
    ] = 1,
    cpu: Cpu = None,
    memory: Memory = None,
    gpu: Annotated[
        int, typer.Option(help="NVIDIA GPUs of each node.", min=0, rich_help_panel=_RESOURCES)
    ] = 0,
    claim: Annotated[
        str | None,
        typer.Option(
            help="PersistentVolumeClaim that all nodes see. Default: only what the runtime mounts.",
            show_default=False,
        ),
    ] = None,
    mount: Annotated[str, typer.Option(help="Folder at which they see it.")] = "/workspace",
    namespace: Namespace = None,
    kube_context: KubeContext = None,
    timeout: Timeout = None,
    dry_run: DryRun = False,
    tf_job: Annotated[
        bool,
        typer.Option(
            "--tf-job", help="With --dry-run: a TFJob of the older Training Operator instead."
        ),
    ] = False,
) -> None:
    """Run `gb-keras train` as a TrainJob, show what it prints, and wait for its end."""
    with _readable_errors(context):
        from gb_keras.cluster import manifests, train_command
        from gb_keras.cluster.job import TrainingJob

        if tf_job and (not dry_run or install_runtime):
            raise ValueError(
                "Expected --tf-job with --dry-run and without --install-runtime: such a job has "
                "no runtime, and is only written here. Received other options."
            )
        job_name = name or f"train-{secrets.token_hex(3)}"
        command = train_command.check(
            _command_of_the_root(context, "train"), train_options, claim and mount
        )
        job = TrainingJob(
            job_name,
            image,
            command.arguments,
            runtime=runtime,
            num_nodes=nodes,
            cpu=cpu,
            memory=memory,
            gpu=gpu,
            claim=claim,
            mount=mount,
        )
        if install_runtime and job.runtime_kind != "TrainingRuntime":
            raise ValueError(
                "Expected --install-runtime with a runtime of the namespace. Received: --runtime "
                f"{runtime}. A ClusterTrainingRuntime is for the cluster's administrator to make."
            )
        manifest = manifests.tf_job(job) if tf_job else manifests.train_job(job)
        runtimes = [manifests.training_runtime(runtime, image)] if install_runtime else []
        if dry_run:
            _print_yaml([*runtimes, manifest])
            return
        cluster = _cluster(namespace, kube_context)
        for each in runtimes:
            cluster.install(each)
        cluster.create(manifest)
        _notice(f"Created TrainJob {job_name} in the namespace {cluster.namespace}.")
        _follow(cluster, job_name, timeout)
        if claim is None:
            typer.echo(
                f"Artifacts: {command.output} of node 0. They outlive it only if the runtime "
                "mounts a volume there; name one with --claim."
            )
        else:
            typer.echo(f"Artifacts: {command.output}, on the volume {claim} mounted at {mount}")


@submit.command("follow", epilog="Example:\n\ngb-keras submit follow train-0a1b2c")
def submit_follow(
    context: typer.Context,
    name: JobName,
    namespace: Namespace = None,
    kube_context: KubeContext = None,
    timeout: Timeout = None,
) -> None:
    """Show what a job prints, and wait for its end."""
    with _readable_errors(context):
        _follow(_cluster(namespace, kube_context), name, timeout)


@submit.command("delete", epilog="Example:\n\ngb-keras submit delete train-0a1b2c")
def submit_delete(
    context: typer.Context,
    name: JobName,
    namespace: Namespace = None,
    kube_context: KubeContext = None,
) -> None:
    """Stop a job and delete it. What it has written to a volume stays."""
    with _readable_errors(context):
        cluster = _cluster(namespace, kube_context)
        cluster.delete(name)
        _notice(f"Deleted TrainJob {name} in the namespace {cluster.namespace}.")


@submit.command(
    "serve",
    epilog="Example:\n\n"
    "gb-keras submit serve digits --model pvc://training/serving/digits --cpu 2 --memory 4Gi",
)
def submit_serve(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the service.")],
    model: Annotated[
        str,
        typer.Option(
            help="Folder that `gb-keras export` wrote, as KServe names it: pvc://CLAIM/PATH, "
            "s3://BUCKET/PATH, gs://BUCKET/PATH."
        ),
    ],
    cpu: Cpu = None,
    memory: Memory = None,
    namespace: Namespace = None,
    kube_context: KubeContext = None,
    dry_run: DryRun = False,
) -> None:
    """Serve an exported model as a KServe InferenceService."""
    with _readable_errors(context):
        from gb_keras.cluster import manifests
        from gb_keras.cluster.job import amounts

        manifest = manifests.inference_service(name, model, amounts(cpu, memory))
        if dry_run:
            _print_yaml([manifest])
            return
        cluster = _cluster(namespace, kube_context)
        cluster.create(manifest)
        _notice(
            f"Created InferenceService {name} in the namespace {cluster.namespace}. Its address, "
            f"once it is ready: kubectl get inferenceservice {name} -n {cluster.namespace}"
        )


def export(
    context: typer.Context,
    run: Annotated[Path, typer.Option("--run", help="Run folder, made by `train`.")],
    output: Annotated[
        Path, typer.Option("--output", help="New folder for the result. Never overwritten.")
    ],
) -> None:
    """Export a trained model for TensorFlow Serving and KServe; it needs no gb_keras there."""
    with _readable_errors(context):
        from gb_keras.stages.export import export as stage

        result = stage(run, output)
        typer.echo(f"SavedModel: {result['saved_model']}")


def _command_of_the_root(context: typer.Context, name: str) -> TyperCommand:
    root = context.find_root()
    return root.command.get_command(root, name)  # type: ignore[attr-defined, no-any-return]


def _cluster(namespace: str | None, context_name: str | None) -> "Cluster":
    from gb_keras.cluster.client import Cluster

    return Cluster(namespace, context_name)


def _follow(cluster: "Cluster", name: str, timeout: float | None) -> None:
    from gb_keras.cluster.follow import follow

    try:
        state = follow(cluster, name, show=typer.echo, notice=_notice, timeout=timeout)
    except KeyboardInterrupt:
        _notice(
            f"Interrupted. The job goes on: gb-keras submit follow {name}, or gb-keras submit "
            f"delete {name}."
        )
        raise typer.Exit(130) from None
    if state.phase == "Failed":
        why = "; ".join((state.reason or "the cluster does not say why", *state.problems))
        raise ClusterError(f"The job {name} failed: {why}.")


def _print_yaml(documents: "list[Manifest]") -> None:
    import yaml

    typer.echo(yaml.safe_dump_all(documents, sort_keys=False), nl=False)


def _notice(text: str) -> None:
    """What is not a result goes to the error stream, so that results can be piped."""
    typer.secho(text, fg="cyan", err=True)


@contextlib.contextmanager
def _readable_errors(context: typer.Context) -> Iterator[None]:
    """Errors as one line and an exit code: 2 for what the user can mend in the command, else 1."""
    try:
        yield
    except (*_USAGE, ClusterError, OSError, ModuleNotFoundError) as error:
        if context.find_root().params["debug"]:
            raise
        message = str(error)
        if isinstance(error, ModuleNotFoundError):
            message += ". Install what is missing: pip install 'gb-keras[stages,cluster]'"
        typer.secho(f"Error: {message}", fg="red", err=True)
        raise typer.Exit(2 if isinstance(error, _USAGE) else 1) from None
