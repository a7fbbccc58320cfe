"""Settings of pods from a file: `gb-keras submit train --pods FILE`."""

import dataclasses
from pathlib import Path

import pydantic
import yaml

from gb_keras.cluster.pod_settings import PodSettings
from gb_keras.names import require_name


def read(path: Path | None) -> PodSettings:
    """Read the settings, and see that they are some.

    Args:
        path: A YAML file with attributes of `PodSettings`, by their names; None for no settings.

    Returns:
        The settings.

    Raises:
        ValueError: There is no such file, it is no YAML, or a setting is unknown or of another
            type; the error names the file and the setting.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "pods.yaml")
        ...     _ = path.write_text("node_selector: {gpu: h100}")
        ...     read(path).fields
        {'nodeSelector': {'gpu': 'h100'}}
    """
    if path is None:
        return PodSettings()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: expected a YAML file of settings of pods: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected settings of pods, such as `shared_memory: 8Gi`. Received: "
            f"{content!r}."
        )
    names = [field.name for field in dataclasses.fields(PodSettings)]
    try:
        for name in content:
            require_name("a setting of pods", name, names)
        return pydantic.TypeAdapter(PodSettings).validate_python(content)
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
        place = "".join(f"{part}: " for part in wrong["loc"])
        raise ValueError(f"{path}: {place}{wrong['msg']}. Received: {wrong['input']!r}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
