"""The component that compares models."""

from kfp import dsl


@dsl.component(base_image="gb-keras:0.1.0", install_kfp_package=False)
def compare_models(  # noqa: D417  KFP reads the descriptions of outputs from Returns.
    evaluations: dsl.Input[list[dsl.Artifact]],
    comparison: dsl.Output[dsl.Artifact],
    table: dsl.Output[dsl.Markdown],
    report: dsl.Output[dsl.HTML],
    baseline: str = "",
):
    """Compare evaluations of models on the same split of the same data.

    Args:
        evaluations: What evaluate_model made, once for each model: in a pipeline,
            dsl.Collected over a dsl.ParallelFor.
        baseline: Name or loss of the model to compare with. Empty is the one of cross_entropy,
            else the first.

    Returns:
        comparison: Folder with comparison.json, .md, .html and .png.
        table: One row for each model, the best of each column in bold.
        report: The table and a picture as one page that needs nothing but itself.
    """
    import shutil
    from pathlib import Path

    from gb_keras.stages.compare import compare
    from gb_keras.stages.report_comparison import markdown

    result = compare(
        [evaluation.path for evaluation in evaluations],
        comparison.path,
        baseline=baseline or None,
    )
    comparison.metadata["evaluations"] = [evaluation.uri for evaluation in evaluations]
    # Not comparison.md, whose picture a view of a single artifact cannot find.
    Path(table.path).write_text(markdown(result), encoding="utf-8")
    shutil.copyfile(Path(comparison.path) / "comparison.html", report.path)


if __name__ == "__main__":
    import argparse

    from kfp import compiler

    parser = argparse.ArgumentParser(description="Compile the component to a YAML file.")
    parser.add_argument("yaml_file", help="file to write, for example compare_models.yaml")
    compiler.Compiler().compile(compare_models, parser.parse_args().yaml_file)
