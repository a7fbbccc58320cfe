"""Step time and peak memory of balanced training against plain Keras.

    python -m benchmarks.overhead run [--pairs 31] [--case mlp ...] [--all] [--gpu] [--json FILE]

Models train on the same batch in turn, block by block in one process, so that a change of the
machine's speed meets all alike. Reported is the median over pairs of blocks of the ratio of their
times. Peak memory is read in a process of its own for each model, on Linux; not of a GPU.
"""

import dataclasses
import os
import platform
from pathlib import Path
from typing import Annotated, Any

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
COUNTED = ("classes_1000",)


@app.command()
def run(
    case: Annotated[
        list[str] | None, typer.Option(help="A case, repeatable; default a quick choice.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All cases of a CPU, in about 20 minutes.")
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="All cases that keep a GPU busy.")] = False,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of blocks of each case.")] = 31,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Measure, print tables, and optionally write the figures as JSON."""
    import tensorflow as tf

    from benchmarks.overhead import count, measure, tables
    from benchmarks.overhead.cases import CASES, CPU_CASES, GPU_CASES, QUICK
    from gb_keras.names import require_name
    from gb_keras.stages.files import write_json

    chosen = [*(CPU_CASES if every else ()), *(GPU_CASES if gpu else ()), *(case or ())]
    names = list(dict.fromkeys(chosen or QUICK))
    for name in names:
        require_name("case", name, CASES)
    machine = _machine()
    typer.echo(f"{machine}\n\n{tables.HEADER}")
    counted = {
        name: {
            variant: dataclasses.asdict(count.count(name, variant))
            for variant in (measure.PLAIN, measure.BALANCED)
        }
        for name in COUNTED
    }
    figures: dict[str, Any] = {}
    for name in names:
        figures[name] = measure.times(name, pairs)
        if not tf.config.list_physical_devices("GPU"):
            figures[name]["memory_ratio"] = measure.memory_ratio(name)
        typer.echo(tables.row(name, figures[name]))
        if json is not None:
            # After each case: some take minutes.
            found = {"machine": machine, "pairs": pairs, "figures": figures, "counts": counted}
            write_json(json, found)
    typer.echo(f"\n{tables.rivals(figures)}\n\n{tables.counts(counted)}")


@app.command(hidden=True)
def memory(case: str, variant: str) -> None:
    """Print the peak memory of this process after training one model, in MiB."""
    from benchmarks.overhead.measure import peak_of

    typer.echo(peak_of(case, variant))


def _machine() -> str:
    import keras
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    gpus = ", ".join(each.get("device_name", "unknown") for each in details) or "none"
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, GPUs: {gpus}, TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}"
    )


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.overhead")
