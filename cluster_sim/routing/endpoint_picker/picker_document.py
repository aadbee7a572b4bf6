"""The type of an option that holds an EndpointPickerConfig: the path of a file, or its content."""

from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cluster_sim.named_document import named_document
from cluster_sim.routing.endpoint_picker.admission_sections import picker_admission
from cluster_sim.routing.endpoint_picker.config_reader import KIND, REGISTRIES, VERSIONS, read_config
from cluster_sim.routing.endpoint_picker.plugin_names import FLOW_CONTROL_TYPES

DEFAULT_CONFIG: Final[dict[str, Any]] = {
    "apiVersion": VERSIONS[1],
    "kind": KIND,
    "plugins": [
        {"type": "queue-scorer"},
        {"type": "kv-cache-utilization-scorer"},
        {"type": "prefix-cache-scorer"},
    ],
    "schedulingProfiles": [
        {
            "name": "default",
            "plugins": [
                {"pluginRef": "queue-scorer", "weight": 2},
                {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                {"pluginRef": "prefix-cache-scorer", "weight": 3},
            ],
        }
    ],
}
"""What the Gateway API inference extension installs by default (``config/charts/inferencepool``)."""


def _check(data: dict[str, Any]) -> list[str]:
    config = read_config(data)
    picker_admission(config)
    return config.notices


class PickerDocument:
    """Checks a configuration, and describes it in the schema of studies."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a document that is read where only its path is given."""

        def read(value: Any, info: ValidationInfo) -> Any:
            return named_document(value, info, _check)

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema: a path, or the layout of the file with the known types of plugins as examples."""
        types = sorted({name for registry in REGISTRIES for name in registry.names()} | FLOW_CONTROL_TYPES)
        plugin = {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"type": "string", "examples": types},
                "name": {"type": "string"},
                "parameters": {"type": "object"},
            },
        }
        reference = {
            "type": "object",
            "required": ["pluginRef"],
            "properties": {"pluginRef": {"type": "string"}, "weight": {"type": "number"}},
        }
        profile = {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "plugins": {"type": "array", "items": reference}},
        }
        content = {
            "type": "object",
            "required": ["apiVersion", "kind"],
            "properties": {
                "apiVersion": {"enum": list(VERSIONS)},
                "kind": {"const": KIND},
                "plugins": {"type": "array", "items": plugin},
                "schedulingProfiles": {"type": "array", "items": profile},
            },
        }
        return {"anyOf": [{"type": "string"}, content]}
