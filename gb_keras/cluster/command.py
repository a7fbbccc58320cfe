"""The commands `gb-keras submit ...` and `gb-keras export`: arguments in, cluster called.

What a command needs is imported by it, so that help is fast.
"""

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from gb_keras import cli_options as options
from gb_keras.cluster import command_parts as parts
from gb_keras.cluster.search_command import search

if TYPE_CHECKING:
    from gb_keras.cluster.client import Cluster

submit = typer.Typer(
    no_args_is_help=True,
    help="Train and serve on a Kubernetes cluster, with Kubeflow Trainer, Katib and KServe.",
)


@submit.command(
    "train",
    epilog="Example:\n\n"
    "gb-keras submit train --image registry.example/gb-keras:0.1.0 --install-runtime "
    "--cpu 4 --memory 16Gi --gpu 1 --claim training -- --data /workspace/digits-lt "
    "--output /workspace/runs/balanced --epochs 30",
)
def submit_train(
    context: typer.Context,
    train_options: parts.TrainOptions,
    image: parts.Image,
    runtime: parts.Runtime = "gb-keras",
    install_runtime: Annotated[
        bool,
        typer.Option(
            "--install-runtime",
            help="Create the TrainingRuntime of that name first, or bring ours up to date.",
            rich_help_panel=parts.CLUSTER,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the job. Default: train- and six signs.", show_default=False),
    ] = None,
    nodes: parts.Nodes = 1,
    cpu: parts.Cpu = None,
    memory: parts.Memory = None,
    gpu: parts.Gpu = 0,
    pods: parts.Pods = None,
    claim: Annotated[
        str | None,
        typer.Option(
            help="PersistentVolumeClaim that all nodes see. Default: only what the runtime mounts.",
            show_default=False,
        ),
    ] = None,
    mount: parts.Mount = "/workspace",
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
    timeout: parts.Timeout = None,
    dry_run: parts.DryRun = False,
    tf_job: Annotated[
        bool,
        typer.Option(
            "--tf-job", help="With --dry-run: a TFJob of the older Training Operator instead."
        ),
    ] = False,
) -> None:
    """Run `gb-keras train` as a TrainJob, show what it prints, and wait for its end."""
    with parts.readable_errors(context):
        from gb_keras.cluster import manifests, pod_file, train_command
        from gb_keras.cluster.job import TrainingJob

        if tf_job and (not dry_run or install_runtime):
            raise ValueError(
                "Expected --tf-job with --dry-run and without --install-runtime: such a job has "
                "no runtime, and is only written here. Received other options."
            )
        if claim is None:
            parts.notice(
                "Without --claim the training finds its data and keeps its results only where the "
                f"runtime {runtime} mounts a volume."
            )
        job_name = name or f"train-{secrets.token_hex(3)}"
        command = train_command.check(
            parts.command_of_the_root(context, "train"), train_options, claim and mount
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
            pods=pod_file.read(pods),
        )
        if install_runtime and job.runtime_kind != "TrainingRuntime":
            raise ValueError(
                "Expected --install-runtime with a runtime of the namespace. Received: --runtime "
                f"{runtime}. A ClusterTrainingRuntime is for the cluster's administrator to make."
            )
        manifest = manifests.tf_job(job) if tf_job else manifests.train_job(job)
        runtimes = [manifests.training_runtime(runtime, image)] if install_runtime else []
        if dry_run:
            parts.print_yaml([*runtimes, manifest])
            return
        cluster = parts.open_cluster(namespace, kube_context)
        for each in runtimes:
            cluster.install(each)
        cluster.create(manifest)
        parts.notice(f"Created TrainJob {job_name} in the namespace {cluster.namespace}.")
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
    name: parts.JobName,
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
    timeout: parts.Timeout = None,
) -> None:
    """Show what a job prints, and wait for its end."""
    with parts.readable_errors(context):
        _follow(parts.open_cluster(namespace, kube_context), name, timeout)


@submit.command("delete", epilog="Example:\n\ngb-keras submit delete train-0a1b2c")
def submit_delete(
    context: typer.Context,
    name: parts.JobName,
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
) -> None:
    """Stop a job and delete it. What it has written to a volume stays."""
    with parts.readable_errors(context):
        cluster = parts.open_cluster(namespace, kube_context)
        cluster.delete(name)
        parts.notice(f"Deleted TrainJob {name} in the namespace {cluster.namespace}.")


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
    cpu: parts.Cpu = None,
    memory: parts.Memory = None,
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
    dry_run: parts.DryRun = False,
) -> None:
    """Serve an exported model as a KServe InferenceService."""
    with parts.readable_errors(context):
        from gb_keras.cluster import manifests
        from gb_keras.cluster.job import amounts

        manifest = manifests.inference_service(name, model, amounts(cpu, memory))
        if dry_run:
            parts.print_yaml([manifest])
            return
        cluster = parts.open_cluster(namespace, kube_context)
        cluster.create(manifest)
        parts.notice(
            f"Created InferenceService {name} in the namespace {cluster.namespace}. Its address, "
            f"once it is ready: kubectl get inferenceservice {name} -n {cluster.namespace}"
        )


@submit.command(
    "setup",
    epilog="Example:\n\n"
    "gb-keras submit setup --image registry.example/gb-keras:0.1.0 --namespace team "
    "--service-account default-editor | kubectl apply -n team -f -",
)
def submit_setup(
    context: typer.Context,
    image: parts.Image,
    namespace: Annotated[str, typer.Option(help="Namespace of the pipelines' runs.")],
    service_account: Annotated[
        str, typer.Option(help="Service account that the pods of pipelines run as.")
    ] = "pipeline-runner",
    runtime: Annotated[str, typer.Option(help="Name of the TrainingRuntime.")] = "gb-keras",
) -> None:
    """Print what a pipeline needs to train on several nodes: TrainingRuntime and rights."""
    with parts.readable_errors(context):
        from gb_keras.cluster import manifests
        from gb_keras.cluster.permissions import permissions

        of_runtime = manifests.training_runtime(runtime, image)
        of_runtime["metadata"]["namespace"] = namespace
        parts.print_yaml([of_runtime, *permissions(service_account, namespace)])


submit.command(
    "search",
    epilog="Example:\n\n"
    "gb-keras submit search --image registry.example/gb-keras:0.1.0 --claim training "
    "--search learning-rate=log:1e-4..1e-1 --search loss=focal,gradient_balanced --trials 12 "
    "-- --data /workspace/digits-lt --output /workspace/runs/search --epochs 30",
)(search)


def export(
    context: typer.Context,
    run: options.Run,
    output: options.Output,
) -> None:
    """Export a trained model for TensorFlow Serving and KServe; it needs no gb_keras there."""
    with parts.readable_errors(context):
        from gb_keras.stages.export import export as stage

        result = stage(run, output)
        typer.echo(f"SavedModel: {result['saved_model']}")


def _follow(cluster: "Cluster", name: str, timeout: float | None) -> None:
    from gb_keras.cluster.follow import follow, how_to_go_on, require_success

    try:
        state = follow(cluster, name, show=typer.echo, notice=parts.notice, timeout=timeout)
    except KeyboardInterrupt:
        parts.notice(f"Interrupted. The job goes on. {how_to_go_on(cluster, name)}")
        raise typer.Exit(130) from None
    require_success(name, state)
