"""Step time on several workers, plain and balanced, and what the statistic adds to communication.

    python -m benchmarks.workers [--workers 2] [--pairs 21] [--case mlp ...]

Processes of this machine train together over loopback. As in `benchmarks.overhead`, the models
train in turn, block by block, and the median over pairs of blocks of the ratio of their times is
told. Batch sizes are global, so each worker has its share of the batch. After the cases comes the
time of an all-reduce by itself.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import loopback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CASES = ("mlp", "small_cnn", "classes_1000", "classes_10000")
STEPS = 10
# Floats: of a counter, and of the statistic of 10, 1,000, 10,000 and 100,000 classes with 30 bins.
SIZES = (1, 310, 31_000, 310_000, 3_100_000)
VARIANTS = ("plain", "balanced")

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    case: Annotated[
        list[str] | None, typer.Option(help="A case of benchmarks.overhead, repeatable.")
    ] = None,
    num_workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 2,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of blocks of each case.")] = 21,
    measure: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure and print two tables."""
    cases = case or list(CASES)
    if measure is not None:
        _measure(cases, pairs, measure)
        return
    typer.echo(_table(measured(num_workers, cases, pairs)))


def measured(num_workers: int, cases: list[str], pairs: int) -> dict[str, Any]:
    """Figures of as many workers.

    Args:
        num_workers: Number of processes, at least 1.
        cases: Of `benchmarks.overhead`.
        pairs: Pairs of blocks of each case.

    Returns:
        `{"cases": {name: {"ms": {variant: float}, "ratios": [float], "bytes": {variant: [int]}}},
        "all_reduce_ms": {num_floats: float}}`, with the bytes of each all-reduce of a step. One
        worker has no all-reduces.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--case={name}" for name in cases]
        processes = loopback.start(
            num_workers, "benchmarks.workers", *options, f"--pairs={pairs}", f"--measure={folder}"
        )
        for code, output in loopback.ended(processes, timeout=3600):
            if code:
                raise SystemExit(output)
        return json.loads((Path(folder) / "found.json").read_text())


def _table(found: dict[str, Any]) -> str:
    lines = [
        "| case | plain ms | balanced ms | time ratio | quartiles | all-reduces a step, plain | "
        "balanced | bytes a step, plain | balanced |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name, figures in found["cases"].items():
        plain, balanced = (figures["ms"][variant] for variant in VARIANTS)
        low, middle, high = statistics.quantiles(figures["ratios"], n=4)
        sizes = [figures["bytes"][variant] for variant in VARIANTS]
        cells = [
            name,
            f"{plain:.1f}",
            f"{balanced:.1f}",
            f"{middle:.3f}",
            f"{low:.3f} to {high:.3f}",
            *(str(len(each)) for each in sizes),
            *(f"{sum(each):,}" for each in sizes),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if found["all_reduce_ms"]:
        lines += ["", "| floats of an all-reduce | ms, median |", "|---:|---:|"]
        lines += [f"| {int(size):,} | {ms:.2f} |" for size, ms in found["all_reduce_ms"].items()]
    return "\n".join(lines)


def _measure(cases: list[str], pairs: int, folder: Path) -> None:
    """What each of the workers does; the chief writes the figures."""
    from gb_keras import distribution

    strategy = distribution.strategy()
    several = distribution.describe(strategy).num_workers > 1
    found = {
        "cases": {name: _figures(strategy, name, pairs) for name in cases},
        "all_reduce_ms": {size: _all_reduce_ms(strategy, size) for size in SIZES if several},
    }
    if distribution.describe(strategy).is_chief:
        (folder / "found.json").write_text(json.dumps(found))


def _figures(strategy: Any, name: str, pairs: int) -> dict[str, Any]:
    import keras
    import numpy as np

    import gb_keras
    from benchmarks import collectives
    from benchmarks.overhead import cases

    case = cases.CASES[name]
    generator = np.random.default_rng(0)
    x = case.inputs(generator)
    batch, trainers, sizes = None, {}, {}
    for variant in VARIANTS:
        keras.utils.set_random_seed(0)
        base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        with strategy.scope():
            model = case.build()
            if variant == "balanced":
                model = gb_keras.GradientBalancedModel.from_model(model)
                base = gb_keras.GradientBalancedLoss(base, **case.options)
            model.compile(keras.optimizers.SGD(0.001), base)
        if batch is None:
            batch = x, generator.integers(0, model.output_shape[-1], len(x))
        model.fit(*batch, batch_size=len(x), verbose=0)
        sizes[variant] = collectives.of_a_step(model, *batch)
        trainers[variant] = model, _batches(strategy, batch)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(pairs + 1):
        for variant in VARIANTS if number % 2 else reversed(VARIANTS):
            model, batches = trainers[variant]
            start = time.perf_counter()
            for _ in range(STEPS):
                logs = model.train_function(batches)
            np.asarray(logs["loss"])
            times[variant].append(time.perf_counter() - start)
    # The first pair warms up.
    ms = {variant: [1000 * each / STEPS for each in times[variant][1:]] for variant in VARIANTS}
    return {
        "ms": {variant: statistics.median(ms[variant]) for variant in VARIANTS},
        "ratios": [b / a for a, b in zip(ms["plain"], ms["balanced"], strict=True)],
        "bytes": sizes,
    }


def _batches(strategy: Any, batch: Any) -> Any:
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(batch).batch(len(batch[0])).repeat()
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return iter(strategy.experimental_distribute_dataset(data.with_options(options)))


def _all_reduce_ms(strategy: Any, size: int) -> float:
    import tensorflow as tf

    value = tf.ones(size)

    @tf.function
    def reduce() -> tf.Tensor:
        def step() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

        return strategy.run(step)

    times = []
    for _ in range(100):
        start = time.perf_counter()
        strategy.experimental_local_results(reduce())[0].numpy()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[10:])


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.workers")
