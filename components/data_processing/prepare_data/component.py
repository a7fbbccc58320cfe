"""The component that prepares a data set."""

from kfp import dsl


@dsl.component(base_image="gb-keras:0.1.0", install_kfp_package=False)
def prepare_data(  # noqa: D417  KFP reads the descriptions of outputs from Returns.
    data: str,
    dataset: dsl.Output[dsl.Dataset],
    long_tail_factor: float = 1.0,
    label_noise: float = 0.0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    image_size: int = 0,
    seed: int = 0,
    on_error: str = "raise",
    data_version: str = "",
    min_images: int = 0,
    beam_options: str = "",
):
    """Make a data set ready for training: split, and where asked for long-tailed and noisy.

    Args:
        data: digits, mnist5k, glyphs, glyphs-cjk, tfds:NAME[/CONFIG], folder:PATH (with a folder
            for each class), csv:PATH[?OPTIONS], parquet:PATH[?OPTIONS], huggingface-dir:PATH,
            tfds-dir:PATH, open-images:boxes:PATH[?OPTIONS] or open-images:labels:PATH[?OPTIONS],
            see docs/data.md.
            The glyphs need font packages in the image. A PATH is one inside the container, for
            example on a mounted volume.
        long_tail_factor: Largest over smallest class of the training split, at least 1; 1 leaves
            it as it is.
        label_noise: Share of training labels changed to another class, in [0, 1).
        validation_fraction: Share of the source's training images for validation, where it has no
            such split, in (0, 1).
        test_fraction: Share of the source's training images for testing, where it has no such
            split, in (0, 1).
        image_size: Side in pixels; the shorter side is scaled to it and the centre cut out. 0
            keeps the size of each image.
        seed: Seed of all draws, at least 0.
        on_error: What to do about images that cannot be used: raise an error that names them all,
            or skip them and list them in the manifest.
        data_version: Any text. Caching takes what was prepared from the same inputs; give another
            text when what data names has other content.
        min_images: Leaves out classes with fewer different images to train with. 0 leaves out none.
        beam_options: Options of Apache Beam as NAME=VALUE, with spaces between. With any, images
            are read and written as a Beam pipeline: runner=DirectRunner is a process for each core
            of the container. The result is the same.

    Returns:
        dataset: TFDS directory with the splits train, validation and test, and manifest.json.
    """
    from gb_keras.stages.prepare import prepare

    manifest = prepare(
        data,
        dataset.path,
        long_tail_factor=long_tail_factor,
        label_noise=label_noise,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        # Optional[int] would say it better, but the local runner of KFP 2.17 fails on None.
        image_size=image_size or None,
        seed=seed,
        on_error=on_error,
        data_version=data_version,
        min_images=min_images or None,
        beam_options=beam_options.split(),
    )
    dataset.metadata.update(
        data=manifest["data"],
        options=manifest["options"],
        num_classes=len(manifest["classes"]),
        num_examples={name: each["num_examples"] for name, each in manifest["splits"].items()},
        num_skipped=manifest["num_skipped"],
    )


if __name__ == "__main__":
    import argparse

    from kfp import compiler

    parser = argparse.ArgumentParser(description="Compile the component to a YAML file.")
    parser.add_argument("yaml_file", help="file to write, for example prepare_data.yaml")
    compiler.Compiler().compile(prepare_data, parser.parse_args().yaml_file)
