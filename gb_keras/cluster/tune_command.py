"""The command `gb-keras submit tune`: options of a training searched by Katib."""

import secrets
from typing import Annotated

import typer

from gb_keras.cluster import command_parts as parts


def tune(
    context: typer.Context,
    train_options: parts.TrainOptions,
    image: parts.Image,
    claim: Annotated[
        str,
        typer.Option(help="PersistentVolumeClaim that all nodes see, with a folder a trial."),
    ],
    search: Annotated[
        list[str],
        typer.Option(
            metavar="OPTION=VALUES",
            help="Repeatable: an option of `gb-keras train` and what to try, as LEAST..GREATEST, "
            "log:LEAST..GREATEST or A,B,C.",
        ),
    ],
    trials: Annotated[int, typer.Option(help="Trials in all.", min=1)] = 12,
    parallel: Annotated[int, typer.Option(help="Trials at the same time.", min=1)] = 3,
    runtime: parts.Runtime = "gb-keras",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the search. Default: tune- and six signs.", show_default=False),
    ] = None,
    nodes: parts.Nodes = 1,
    cpu: parts.Cpu = None,
    memory: parts.Memory = None,
    gpu: parts.Gpu = 0,
    mount: parts.Mount = "/workspace",
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
    dry_run: parts.DryRun = False,
) -> None:
    """Search options of a training with Katib: many TrainJobs, the best in validation wins."""
    with parts.readable_errors(context):
        from gb_keras.cluster import train_command, tuning
        from gb_keras.cluster.job import TrainingJob

        searches = [tuning.Search.parse(text) for text in search]
        train = parts.command_of_the_root(context, "train")
        command = train_command.check(train, train_options, mount)
        for each in searches:
            for value in each.values:
                train_command.check(train, [*train_options, f"--{each.option}", value], mount)
        job = TrainingJob(
            name or f"tune-{secrets.token_hex(3)}",
            image,
            train_command.with_output(command, f"{command.output}/{tuning.TRIAL_NAME}"),
            runtime=runtime,
            num_nodes=nodes,
            cpu=cpu,
            memory=memory,
            gpu=gpu,
            claim=claim,
            mount=mount,
        )
        manifest = tuning.experiment(job, searches, num_trials=trials, num_parallel=parallel)
        if dry_run:
            parts.print_yaml([manifest])
            return
        cluster = parts.open_cluster(namespace, kube_context)
        cluster.create(manifest)
        parts.notice(
            f"Created Experiment {job.name} in the namespace {cluster.namespace}. How it stands: "
            f"kubectl get experiment {job.name} -n {cluster.namespace} -o yaml"
        )
        typer.echo(
            f"Artifacts: {command.output}, a folder a trial, on the volume {claim} mounted at "
            f"{mount}"
        )
