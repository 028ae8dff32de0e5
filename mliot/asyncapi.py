"""The AsyncAPI 3.0 document of what travels through Kafka: ``python -m mliot.asyncapi > docs/asyncapi.yaml`` makes it from the messages."""

import sys
from importlib.metadata import version
from inspect import getdoc
from typing import Any

import msgspec
import yaml

from mliot.messages import MESSAGES, Message
from mliot.settings import HOST, Settings

_KEY = "place_id; of a device without a place, the device's name; empty for a message of unknown origin"


def document() -> dict[str, Any]:
    """The document as plain data: a channel a topic, the message on it, and the JSON schema of its value."""
    _, schemas = msgspec.json.schema_components(MESSAGES, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MLIoT",
            "version": version("mliot"),
            "description": "The Kafka topics of MLIoT. Values are JSON; times are whole milliseconds since 1970-01-01 UTC; "
            "records with the same id are the same record.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": f"{HOST}:{Settings.model_fields['kafka_port'].default}",
                "protocol": "kafka",
                "description": "The local stack's Kafka; MLIOT_KAFKA_BOOTSTRAP names another one.",
            }
        },
        "channels": {_channel(kind): _topic(kind) for kind in MESSAGES},
        "operations": {
            f"{verb}{kind.__name__}": {
                "action": verb,
                "channel": {"$ref": f"#/channels/{_channel(kind)}"},
                "summary": f"{'Write to' if verb == 'send' else 'Read from'} {kind.topic_name}",
            }
            for kind in MESSAGES
            for verb in ("send", "receive")
        },
        "components": {"messages": {kind.__name__: _message(kind) for kind in MESSAGES}, "schemas": schemas},
    }


def _channel(kind: type[Message]) -> str:
    return kind.topic_name.removeprefix("stream-")


def _topic(kind: type[Message]) -> dict[str, Any]:
    return {
        "address": kind.topic_name,
        "description": _about(kind),
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
    }


def _message(kind: type[Message]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": _about(kind),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {"traceparent": {"type": "string", "description": "W3C trace context of the frame that this goes back to"}},
        },
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": _KEY}, "bindingVersion": "0.5.0"}},
    }


def _about(kind: type[Message]) -> str:
    return " ".join((getdoc(kind) or "").replace("``", "`").split())


def rendered() -> str:
    """The document as YAML."""
    head = "# Made from mliot/messages.py by `python -m mliot.asyncapi > docs/asyncapi.yaml`: change the messages, not this file.\n"
    return head + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    sys.stdout.write(rendered())
