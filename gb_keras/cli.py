"""The command line: arguments in, stages called, errors readable.

Stages, and TensorFlow with them, are imported by the command that needs them, so that help is fast.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gb_keras import cli_options as options
from gb_keras.cli_errors import readable_errors
from gb_keras.cli_search import search
from gb_keras.cluster import command as cluster
from gb_keras.version import __version__

app = typer.Typer(
    name="gb-keras",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gb-keras {__version__}")
        raise typer.Exit


@app.callback(
    epilog="A first comparison, on images that come with scikit-learn:\n\n"
    "gb-keras prepare --data digits --long-tail-factor 20 --output digits-lt\n\n"
    "gb-keras compare --data digits-lt --loss cross_entropy --loss gradient_balanced "
    "--epochs 30 --output comparison"
)
def main(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="GB_KERAS_DEBUG", help="Show the traceback of errors."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Multi-class training on gradient balance: prepare data, train, evaluate, compare."""


@app.command(
    epilog="Examples:\n\n"
    "gb-keras prepare --data digits --long-tail-factor 20 --label-noise 0.1 --output digits-lt\n\n"
    "gb-keras prepare --data folder:photos --image-size 224 --on-error skip --output photos-224\n\n"
    "gb-keras prepare --data folder:photos --beam-option runner=DirectRunner --output photos"
)
def prepare(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist5k, glyphs, glyphs-cjk, tfds:NAME/CONFIG, folder:PATH (with a "
            "folder for each class), csv:PATH[?OPTIONS], parquet:PATH[?OPTIONS], "
            "huggingface-dir:PATH, tfds-dir:PATH, open-images:boxes:PATH[?OPTIONS] or "
            "open-images:labels:PATH[?OPTIONS]."
        ),
    ],
    output: options.Output,
    long_tail_factor: Annotated[
        float,
        typer.Option(
            help="Largest over smallest class of the training split; 1 leaves it as it is.",
            min=1.0,
            rich_help_panel=options.DATA,
        ),
    ] = 1.0,
    label_noise: Annotated[
        float,
        typer.Option(
            help="Share of training labels changed to another class, in [0, 1).",
            rich_help_panel=options.DATA,
        ),
    ] = 0.0,
    validation_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the source's training images for validation, where it has no such "
            "split, in (0, 1).",
            rich_help_panel=options.DATA,
        ),
    ] = 0.1,
    test_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the source's training images for testing, where it has no such split, "
            "in (0, 1).",
            rich_help_panel=options.DATA,
        ),
    ] = 0.2,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels: the shorter side is scaled to it, the centre cut out. Default: "
            "images keep their size.",
            min=1,
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of all draws.", min=0, rich_help_panel=options.DATA)
    ] = 0,
    on_error: Annotated[
        str,
        typer.Option(
            help="What to do about images that cannot be read: raise (name them all) or skip.",
            rich_help_panel=options.DATA,
        ),
    ] = "raise",
    data_version: Annotated[
        str,
        typer.Option(
            help="Any text; another one where what --data names has other content than before.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = "",
    min_images: Annotated[
        int | None,
        typer.Option(
            help="Leave out classes with fewer different images to train with. Default: none.",
            min=1,
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    beam_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Read and write images as an Apache Beam pipeline, with this option; repeat for "
            "several. runner=DirectRunner is a process for each core of this machine, "
            "direct_num_workers=8 for as many; other runners (FlinkRunner, SparkRunner, "
            "DataflowRunner) take their own. The result is the same. Default: one process.",
            show_default=False,
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
) -> None:
    """Make a data set ready for training: split, and where asked for long-tailed and noisy."""
    with readable_errors(context):
        from gb_keras.stages.prepare import prepare as stage

        manifest = stage(
            data,
            output,
            long_tail_factor=long_tail_factor,
            label_noise=label_noise,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            image_size=image_size,
            seed=seed,
            on_error=on_error,
            data_version=data_version,
            min_images=min_images,
            beam_options=beam_option,
        )
        rows = {}
        for name, split in manifest["splits"].items():
            counts = split["class_counts"]
            rows[name] = f"{split['num_examples']} images, {min(counts)} to {max(counts)} a class"
        rows["skipped"] = f"{len(manifest['skipped'])} images"
        if small := manifest.get("left_out_classes"):
            rows["left out"] = f"{len(small)} classes with fewer than {min_images} images"
        _print_table(f"{manifest['data']}: {len(manifest['classes'])} classes in {output}", rows)


@app.command(
    epilog="Examples:\n\n"
    "gb-keras describe folder:photos --output description\n\n"
    "gb-keras describe csv:birds.csv --json > birds.json"
)
def describe(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="As for `prepare --data`, or a folder it has made."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="New folder for description.html and description.json. Default: none.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as JSON instead of a table.")
    ] = False,
) -> None:
    """Look at every image: classes, imbalance, broken files, duplicates, labels that disagree."""
    with readable_errors(context):
        from gb_keras.stages.describe import describe as stage
        from gb_keras.stages.report_description import lines

        result = stage(data, output)
        if as_json:
            typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
            return
        _print_table(result["data"], lines(result))
        if output is not None:
            typer.echo(f"Report: {output / 'description.html'}")


@app.command(
    epilog="Examples:\n\n"
    "gb-keras train --data digits-lt --output runs/balanced --epochs 30\n\n"
    "gb-keras train --data photos-224 --output runs/vgg --backbone vgg16 --weights imagenet "
    "--freeze-epochs 2 --dtype-policy mixed_float16\n\n"
    "gb-keras train --data photos-2 --output runs/more-classes --backbone runs/vgg\n\n"
    "gb-keras train --data digits-lt --output runs/balanced --epochs 30 --resume\n\n"
    "gb-keras train --config runs/balanced/config.json --seed 1 --output runs/another-seed"
)
def train(
    context: typer.Context,
    data: options.Data,
    output: options.Output,
    config: options.Config = None,
    backbone: options.Backbone = "small_cnn",
    weights: options.Weights = None,
    freeze_epochs: options.FreezeEpochs = 0,
    loss: Annotated[
        str, typer.Option(help=f"Method: {options.LOSSES}.", rich_help_panel=options.METHOD)
    ] = "gradient_balanced",
    density_exponent: options.DensityExponent = None,
    prior_strength: options.PriorStrength = None,
    max_weight: options.MaxWeight = None,
    momentum: options.Momentum = None,
    noise_exponent: options.NoiseExponent = None,
    label_smoothing: options.LabelSmoothing = None,
    epochs: options.Epochs = 20,
    batch_size: options.BatchSize = 64,
    optimizer: options.Optimizer = "adam",
    learning_rate: options.LearningRate = 1e-3,
    schedule: options.Schedule = "cosine",
    image_size: options.TrainImageSize = None,
    augmentation: options.Augmentation = None,
    dtype_policy: options.DtypePolicy = "float32",
    jit_compile: options.JitCompile = False,
    strategy: Annotated[
        str,
        typer.Option(
            help="none (one device), mirrored (all GPUs of this machine, else its CPUs) or "
            "multi-worker (all workers in TF_CONFIG); auto: what TF_CONFIG and the devices ask "
            "for.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = "auto",
    seed: options.Seed = 0,
    checkpoint_steps: options.CheckpointSteps = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Go on with the unfinished run in the output folder; a new folder is started, a "
            "finished run left as it is.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = False,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for TensorBoard logs. Default: logs in the output folder.",
            show_default=False,
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
    verbose: options.Verbose = "auto",
) -> None:
    """Train a model; leave it with its history, TensorBoard logs and configuration in a folder."""
    with readable_errors(context, hint="Go on with the same command and --resume."):
        from gb_keras.stages.train import train as stage

        stage(
            data,
            output,
            backbone=backbone,
            weights=weights,
            freeze_epochs=freeze_epochs,
            loss=loss,
            density_exponent=density_exponent,
            prior_strength=prior_strength,
            max_weight=max_weight,
            momentum=momentum,
            noise_exponent=noise_exponent,
            label_smoothing=label_smoothing,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            image_size=image_size,
            augmentation=augmentation,
            dtype_policy=dtype_policy,
            jit_compile=jit_compile,
            strategy=strategy,
            seed=seed,
            checkpoint_steps=checkpoint_steps,
            resume=resume,
            log_dir=log_dir,
            verbose=options.verbose_level(verbose),
        )


@app.command(
    epilog="Example:\n\n"
    "gb-keras evaluate --run runs/balanced --data digits-lt --output evaluations/balanced"
)
def evaluate(
    context: typer.Context,
    run: options.Run,
    data: options.Data,
    output: options.Output,
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    batch_size: Annotated[
        int, typer.Option(help="Images at a time; changes speed and memory only.", min=1)
    ] = 256,
    many_shot: Annotated[
        int,
        typer.Option(help="Classes with more training images than this are many-shot.", min=0),
    ] = 100,
    few_shot: Annotated[
        int,
        typer.Option(help="Classes with fewer training images than this are few-shot.", min=0),
    ] = 20,
) -> None:
    """Measure a trained model: metrics.json, per_class.csv and report.html in a folder."""
    with readable_errors(context):
        from gb_keras.stages.evaluate import evaluate as stage

        result = stage(
            run,
            data,
            output,
            split=split,
            batch_size=batch_size,
            many_shot=many_shot,
            few_shot=few_shot,
        )
        rows = {
            name: "-" if value is None else f"{value:.4f}"
            for name, value in result["metrics"].items()
        }
        _print_table(f"{run} on {split} of {data}", rows)
        typer.echo(f"Report: {output / 'report.html'}")


@app.command(
    epilog="Examples:\n\n"
    "gb-keras compare evaluations/plain evaluations/balanced --output comparison\n\n"
    "gb-keras compare --data digits-lt --loss cross_entropy --loss gradient_balanced --epochs 30 "
    "--output comparison"
)
def compare(
    context: typer.Context,
    output: options.Output,
    evaluations: Annotated[
        list[Path] | None,
        typer.Argument(metavar="EVALUATION", help="Folders made by `evaluate`."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="With evaluations: name, loss or folder of the run to compare with. Default: "
            "cross_entropy, else the first.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Instead of evaluations: a data set folder to train and evaluate on.",
            show_default=False,
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            help=f"With --data, repeatable: {options.LOSSES}.", rich_help_panel=options.METHOD
        ),
    ] = None,
    backbone: options.Backbone = "small_cnn",
    weights: options.Weights = None,
    freeze_epochs: options.FreezeEpochs = 0,
    density_exponent: options.DensityExponent = None,
    prior_strength: options.PriorStrength = None,
    max_weight: options.MaxWeight = None,
    momentum: options.Momentum = None,
    noise_exponent: options.NoiseExponent = None,
    label_smoothing: options.LabelSmoothing = None,
    epochs: options.Epochs = 20,
    batch_size: options.BatchSize = 64,
    optimizer: options.Optimizer = "adam",
    learning_rate: options.LearningRate = 1e-3,
    schedule: options.Schedule = "cosine",
    image_size: options.TrainImageSize = None,
    augmentation: options.Augmentation = None,
    dtype_policy: options.DtypePolicy = "float32",
    jit_compile: options.JitCompile = False,
    seed: options.Seed = 0,
    checkpoint_steps: options.CheckpointSteps = None,
    verbose: options.Verbose = "auto",
) -> None:
    """Compare evaluations; or, with --data, train and evaluate a row of losses and compare them.

    With --data the same command goes on after an interruption: finished runs are kept.
    """
    with readable_errors(context, hint="The same command goes on from there."):
        _check_compare(context)
        if data is None:
            from gb_keras.stages.compare import compare as stage

            result = stage(evaluations or [], output, baseline=baseline)
            folder = output
        else:
            from gb_keras.stages.compare import compare_losses

            result = compare_losses(
                data,
                output,
                loss or [],
                backbone=backbone,
                weights=weights,
                freeze_epochs=freeze_epochs,
                density_exponent=density_exponent,
                prior_strength=prior_strength,
                max_weight=max_weight,
                momentum=momentum,
                noise_exponent=noise_exponent,
                label_smoothing=label_smoothing,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                schedule=schedule,
                image_size=image_size,
                augmentation=augmentation,
                dtype_policy=dtype_policy,
                jit_compile=jit_compile,
                seed=seed,
                checkpoint_steps=checkpoint_steps,
                verbose=options.verbose_level(verbose),
            )
            folder = output / "comparison"
        from gb_keras.stages.report_comparison import markdown

        typer.echo(markdown(result))
        typer.echo(f"Report: {folder / 'comparison.html'}")


app.command(
    epilog="Examples:\n\n"
    "gb-keras search --trials 40 --jobs 2 -- --data digits-lt --output runs/search --epochs 30\n\n"
    "gb-keras search --search learning-rate=log:1e-4..1e-2 --search loss=focal,gradient_balanced "
    "-- --data digits-lt --output runs/two-losses --epochs 30"
)(search)
app.command(epilog="Example:\n\ngb-keras export --run runs/balanced --output serving/balanced")(
    cluster.export
)
app.add_typer(cluster.submit, name="submit")


def _check_compare(context: typer.Context) -> None:
    """Refuse options of one way to compare that were given with the other."""
    given = {
        name
        for name, value in context.params.items()
        # Some versions say that no argument at all came from the command line.
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        and value not in (None, [], ())
    }
    if "data" in given:
        wrong, why = given & {"evaluations", "baseline"}, "they do not go with --data"
    else:
        common = {"evaluations", "baseline", "output"}
        wrong, why = given - common, "training needs --data, a data set folder"
    if wrong:
        names = ", ".join(
            "evaluations" if name == "evaluations" else "--" + name.replace("_", "-")
            for name in sorted(wrong)
        )
        raise ValueError(
            "Expected evaluations to compare, or --data and --loss to train first. "
            f"Received: {names}; {why}."
        )


def _print_table(title: str, rows: Mapping[str, Any]) -> None:
    typer.secho(title, bold=True)
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"  {name:<{width}}  {value}")
