"""Options that several commands have, and what their groups in the help are called."""

from pathlib import Path
from typing import Annotated

import typer

from gb_keras.cli_config import take_config

DATA = "Data"
METHOD = "Method"
BALANCE = "Balance"
OPTIMIZATION = "Optimization"
RUNTIME = "Running"

Output = Annotated[
    Path, typer.Option("--output", help="New folder for the result. Never overwritten.")
]
Run = Annotated[Path, typer.Option("--run", help="Run folder, made by `train`.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="JSON file of options, such as `search` leaves, or a run's config.json. What the "
        "command line says wins.",
        callback=take_config,
        is_eager=True,
        show_default=False,
    ),
]
Data = Annotated[Path, typer.Option("--data", help="Data set folder, made by `prepare`.")]
Backbone = Annotated[
    str,
    typer.Option(
        help="Model: small_cnn, resnet32, resnet18, resnet34, resnet18_v2 or resnet34_v2; one of "
        "keras.applications, such as vgg16, inception_v3, resnet50_v2 or efficientnet_b0; hub: and "
        "a preset of keras-hub, such as hub:resnet_18_imagenet, or the folder of one; or a saved "
        "one, by its .keras file or the folder of a finished run.",
        rich_help_panel=METHOD,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights to start from: imagenet (downloaded by Keras) or a file of them, without "
        "classifier; preset for those of a hub: backbone. Default: random ones.",
        show_default=False,
        rich_help_panel=METHOD,
    ),
]
FreezeEpochs = Annotated[
    int,
    typer.Option(
        help="Epochs at the start in which only the classifier learns.",
        min=0,
        rich_help_panel=OPTIMIZATION,
    ),
]
Epochs = Annotated[
    int, typer.Option(help="Passes over the training split.", min=1, rich_help_panel=OPTIMIZATION)
]
BatchSize = Annotated[
    int,
    typer.Option(
        help="Images in a step, over all devices and workers.",
        min=1,
        rich_help_panel=OPTIMIZATION,
    ),
]
Optimizer = Annotated[
    str,
    typer.Option(help="adam, adamw or sgd (with momentum 0.9).", rich_help_panel=OPTIMIZATION),
]
LearningRate = Annotated[
    float,
    typer.Option(
        help="Learning rate at the start, above 0. Try 0.1 with sgd.",
        rich_help_panel=OPTIMIZATION,
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        help="constant, cosine (down to 0) or step (a tenth at 1/2, a hundredth at 3/4).",
        rich_help_panel=OPTIMIZATION,
    ),
]
TrainImageSize = Annotated[
    int | None,
    typer.Option(
        help="Height and width in pixels to resize images to. Default: the size of the data set's "
        "images, or the backbone's own size where they differ in size.",
        min=1,
        show_default=False,
        rich_help_panel=METHOD,
    ),
]
DensityExponent = Annotated[
    float | None,
    typer.Option(
        help="How far a crowd of equally hard samples is weighted down. Default, here and for the "
        "next five: the loss's own. gradient_balanced takes all six, logit_adjustment the prior "
        "strength, ghm_c the momentum, label_smoothing the label smoothing.",
        min=0.0,
        show_default=False,
        rich_help_panel=BALANCE,
    ),
]
PriorStrength = Annotated[
    float | None,
    typer.Option(
        help="Scale of the class margin.", min=0.0, show_default=False, rich_help_panel=BALANCE
    ),
]
MaxWeight = Annotated[
    float | None,
    typer.Option(
        help="Cap of the weights by density.", min=1.0, show_default=False, rich_help_panel=BALANCE
    ),
]
Momentum = Annotated[
    float | None,
    typer.Option(
        help="Momentum of the running histogram, below 1.",
        min=0.0,
        show_default=False,
        rich_help_panel=BALANCE,
    ),
]
NoiseExponent = Annotated[
    float | None,
    typer.Option(
        help="How far a sample is weighted down for the probability that its label is wrong.",
        min=0.0,
        show_default=False,
        rich_help_panel=BALANCE,
    ),
]
LabelSmoothing = Annotated[
    float | None,
    typer.Option(
        help="Share of a label that goes to other classes, below 1.",
        min=0.0,
        show_default=False,
        rich_help_panel=BALANCE,
    ),
]
Augmentation = Annotated[
    list[str] | None,
    typer.Option(
        help="What is done to training images, repeatable: crop, flip, rand_augment, mixup or "
        "cutmix.",
        show_default=False,
        rich_help_panel=METHOD,
    ),
]
DtypePolicy = Annotated[
    str,
    typer.Option(
        help="float32, mixed_float16 or mixed_bfloat16 (GPUs are faster mixed).",
        rich_help_panel=RUNTIME,
    ),
]
JitCompile = Annotated[bool, typer.Option(help="Compile with XLA.", rich_help_panel=RUNTIME)]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed of initial weights and order of the data.", min=0, rich_help_panel=RUNTIME
    ),
]
CheckpointSteps = Annotated[
    int | None,
    typer.Option(
        help="Steps after which the state is saved within an epoch, too. Default: after each "
        "epoch, and when the process is told to end (SIGTERM).",
        min=1,
        show_default=False,
        rich_help_panel=RUNTIME,
    ),
]
Verbose = Annotated[
    str,
    typer.Option(
        help="0 silent, 1 progress bar, 2 a line for each epoch; auto: 1 in a terminal, else 2.",
        rich_help_panel=RUNTIME,
    ),
]
SearchSpace = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="OPTION=VALUES",
        help="Repeatable: an option of `gb-keras train` and what to try, as LEAST..GREATEST (whole "
        "numbers where both are), log:LEAST..GREATEST or A,B,C. Default: the options of balancing "
        "and the learning rate, and on one machine also the loss.",
        show_default=False,
    ),
]
LOSSES = (
    "cross_entropy, label_smoothing, generalised_cross_entropy, symmetric_cross_entropy, focal, "
    "class_balanced, square_root_resampling, logit_adjustment, ldam_drw, equalization_v2, seesaw, "
    "ghm_c or gradient_balanced; for multi-label data cross_entropy, label_smoothing, focal, "
    "class_balanced, asymmetric, distribution_balanced, logit_adjustment, ghm_c or "
    "gradient_balanced"
)


def verbose_level(verbose: str) -> str | int:
    """What the option `--verbose` is to `train`.

    Args:
        verbose: The text of the option.
    """
    return int(verbose) if verbose.isdigit() else verbose
