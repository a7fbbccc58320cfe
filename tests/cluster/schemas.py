"""JSON schemas of cluster objects, strict: what a schema does not name, it refuses.

They are made of the models that Kubeflow and KServe generate from the Go types of their custom
resources and publish as packages; those packages that cannot share an environment with TensorFlow
and Keras lie in a folder of their own, where their source is read.
"""

import ast
import functools
import re
import sys
from pathlib import Path

import jsonschema
import kubernetes.client
import pytest

SEPARATE = Path(sys.prefix) / "schemas"
AMOUNT = {"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?$"}
PLAIN = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string"},
    "object": {},
    "ResourceQuantity": AMOUNT,
}


def errors(manifest, schema):
    """What a schema has against a manifest: the place and the message, a line each."""
    validator = jsonschema.Draft202012Validator(schema)
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(manifest)
    ]


def of_pydantic(model):
    """Schema of a generated pydantic model."""
    schema = model.model_json_schema(by_alias=True)
    for name, part in [("", schema), *schema["$defs"].items()]:
        if "actual_instance" in part.get("properties", {}):
            # A generated union, whose fields are those of the union's own bookkeeping.
            schema["$defs"][name] = AMOUNT if name.endswith("Quantity") else {}
        elif "properties" in part:
            part["additionalProperties"] = False
    return schema


def of_openapi(package, version, name):
    """Schema of a model of the older generator, of a package in the separate folder."""
    models = SEPARATE / package / "models"
    distribution = package.replace("/", "_")
    if not (SEPARATE / f"{distribution}-{version}.dist-info").is_dir():
        pytest.skip(f"{distribution} {version} is not in {SEPARATE}: `make test` puts it there")
    definitions = {}
    _define(name, models, definitions)
    return {"$ref": f"#/$defs/{name}", "$defs": definitions}


def _define(name, models, definitions):
    if name in definitions:
        return
    # What is no model of this package or of Kubernetes's client has no field that we may use.
    definitions[name] = {"type": "object", "additionalProperties": False}
    types, names = _tables(models).get(name) or _kubernetes_tables(name)
    definitions[name]["properties"] = {
        names[attribute]: _schema(kind, models, definitions) for attribute, kind in types.items()
    }


def _schema(kind, models, definitions):
    if kind in PLAIN:
        return PLAIN[kind]
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        return {"type": "array", "items": _schema(match[1], models, definitions)}
    if match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        inner = _schema(match[1], models, definitions)
        return {"type": "object", "additionalProperties": inner}
    _define(kind, models, definitions)
    return {"$ref": f"#/$defs/{kind}"}


@functools.cache
def _tables(models):
    """Types and names of the fields of each model in a folder, read from its source."""
    tables = {}
    for path in models.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                assigned = {
                    statement.targets[0].id: statement.value
                    for statement in node.body
                    if isinstance(statement, ast.Assign)
                }
                tables[node.name] = tuple(
                    ast.literal_eval(assigned[table])
                    for table in ("openapi_types", "attribute_map")
                )
    return tables


def _kubernetes_tables(name):
    model = getattr(kubernetes.client, name, None)
    return (model.openapi_types, model.attribute_map) if model else ({}, {})
