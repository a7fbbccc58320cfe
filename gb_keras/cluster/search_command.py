"""The command `gb-keras submit search`: options of a training searched by Katib."""

import secrets
from typing import Annotated

import typer

from gb_keras import cli_options as options
from gb_keras.cluster import command_parts as parts


def search(
    context: typer.Context,
    train_options: parts.TrainOptions,
    image: parts.Image,
    claim: Annotated[
        str,
        typer.Option(help="PersistentVolumeClaim that all nodes see, with a folder a trial."),
    ],
    space: options.SearchSpace = None,
    trials: Annotated[int, typer.Option(help="Trials in all.", min=1)] = 12,
    parallel: Annotated[int, typer.Option(help="Trials at the same time.", min=1)] = 3,
    runtime: parts.Runtime = "gb-keras",
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the search. Default: search- and six signs.", show_default=False
        ),
    ] = None,
    nodes: parts.Nodes = 1,
    cpu: parts.Cpu = None,
    memory: parts.Memory = None,
    gpu: parts.Gpu = 0,
    pods: parts.Pods = None,
    mount: parts.Mount = "/workspace",
    namespace: parts.Namespace = None,
    kube_context: parts.KubeContext = None,
    dry_run: parts.DryRun = False,
) -> None:
    """Search options of a training with Katib: many TrainJobs, the best in validation wins."""
    with parts.readable_errors(context):
        from gb_keras.cluster import experiment, pod_file, train_command
        from gb_keras.cluster.job import TrainingJob
        from gb_keras.stages import balance_options, search_space

        train = parts.command_of_the_root(context, "train")
        command = train_command.check(train, train_options, mount)
        given = command.options
        if space:
            searches = [search_space.Search.parse(text) for text in space]
        else:
            chosen = {**{each.name: each.default for each in train.params}, **given}
            loss, optimizer = chosen["loss"], chosen["optimizer"]
            searches = search_space.default_space([loss], optimizer, given)
        search_space.check_names(searches, given)
        # Katib knows no options of some losses alone: each goes with each loss.
        losses = [value for each in searches if each.name == "loss" for value in each.values]
        for each in searches:
            with_losses = losses if each.name in balance_options.NAMES else []
            for value in each.values:
                searched = [f"--{each.option}", value]
                for more in [["--loss", loss] for loss in with_losses] or [[]]:
                    train_command.check(train, [*train_options, *more, *searched], mount)
        job = TrainingJob(
            name or f"search-{secrets.token_hex(3)}",
            image,
            train_command.with_output(command, f"{command.output}/{experiment.TRIAL_NAME}"),
            runtime=runtime,
            num_nodes=nodes,
            cpu=cpu,
            memory=memory,
            gpu=gpu,
            claim=claim,
            mount=mount,
            pods=pod_file.read(pods),
        )
        manifest = experiment.experiment(job, searches, num_trials=trials, num_parallel=parallel)
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
