"""Options that say how the tasks run: of the command line, as `Settings` has them."""

from typing import Annotated

import typer

TASKS = "Tasks"
TRAINING = "Machines of a training"

Image = Annotated[
    str | None,
    typer.Option(
        help="Image of all tasks, built from Dockerfile. Default: gb-keras with its version.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
ImagePullSecret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Secret that the image is pulled with, repeatable.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
PipelineRoot = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Folder for all results, as s3://BUCKET/PATH, gs://... or minio://... Default: what "
        "the cluster has.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
Claim = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="PersistentVolumeClaim that is mounted where data are prepared and models trained. "
        "Several nodes need one.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
Mount = Annotated[
    str, typer.Option(help="Folder at which the claim is mounted.", rich_help_panel=TASKS)
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VARIABLE:KEY",
        help="Value of a Secret that preparing and training get in an environment variable, or "
        "NAME=/FOLDER for a folder with a file for each key; repeatable.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
Retries = Annotated[
    int,
    typer.Option(help="How many times a failed task is tried again.", min=0, rich_help_panel=TASKS),
]
Cache = Annotated[
    bool,
    typer.Option(
        help="Take the outputs of tasks that ran before with the same inputs. With --local "
        "the files of a dataset with a PATH, their sizes and times, are an input, too; those "
        "of a table are the images that it lists as well.",
        rich_help_panel=TASKS,
    ),
]
Cpu = Annotated[str | None, typer.Option(help="CPUs, as 4 or 500m.", rich_help_panel=TRAINING)]
Memory = Annotated[str | None, typer.Option(help="Memory, as 16Gi.", rich_help_panel=TRAINING)]
Accelerator = Annotated[
    str | None,
    typer.Option(help="Type of accelerators, as nvidia.com/gpu.", rich_help_panel=TRAINING),
]
AcceleratorCount = Annotated[
    int, typer.Option(help="Number of accelerators.", min=1, rich_help_panel=TRAINING)
]
SharedMemory = Annotated[
    str | None,
    typer.Option(
        help="Size of /dev/shm, as 8Gi, through which GPUs of one machine exchange data. Default: "
        "what the container has, 64 MiB as a rule.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
NodeSelector = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Label that a machine must have, repeatable.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
Toleration = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE:EFFECT",
        help="Taint of machines that does not keep a training away, repeatable; KEY:EFFECT for "
        "any value.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
Nodes = Annotated[
    int,
    typer.Option(
        help="Nodes on which each training runs, as a TrainJob where there are several; each has "
        "the CPUs, memory and accelerators given here.",
        min=1,
        rich_help_panel=TRAINING,
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        help="TrainingRuntime for several nodes, or cluster:NAME for a ClusterTrainingRuntime.",
        rich_help_panel=TRAINING,
    ),
]
