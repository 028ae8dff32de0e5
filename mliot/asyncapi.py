"""The AsyncAPI 3.0 document of what travels through Kafka and MQTT: ``python -m mliot.asyncapi > docs/asyncapi.yaml`` makes it from the
types that read and write it."""

import sys
from importlib.metadata import version
from inspect import getdoc
from typing import Any

import msgspec
import yaml

from mliot.devicemessages import ACK_TOPIC, COMMAND_TOPIC, FRAME_TOPICS, DeviceAck, DeviceCommand
from mliot.frames import frame_schema
from mliot.measurements import load_measurements
from mliot.messages import MESSAGES, Message
from mliot.settings import HOST, Settings

BODIES: tuple[type[msgspec.Struct], ...] = (DeviceCommand, DeviceAck)
_KEY = "place_id; of a device without a place, the device's name; empty for a message of unknown origin"


def document() -> dict[str, Any]:
    """The document as plain data: a channel a topic, the message on it, and the JSON schema of its value."""
    _, schemas = msgspec.json.schema_components((*MESSAGES, *BODIES), ref_template="#/components/schemas/{name}")
    schemas["DeviceFrame"] = frame_schema(load_measurements())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MLIoT",
            "version": version("mliot"),
            "description": "The MQTT and Kafka topics of MLIoT. Values are JSON; times are whole milliseconds since 1970-01-01 UTC; "
            "records with the same id are the same record. What a device publishes and is no such message is a dead letter.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "mqtt": {
                "host": f"{HOST}:{Settings.model_fields['mqtt_port'].default}",
                "protocol": "mqtt",
                "protocolVersion": "5",
                "description": "The local stack's MQTT broker; MLIOT_MQTT_URL names another one.",
            },
            "kafka": {
                "host": f"{HOST}:{Settings.model_fields['kafka_port'].default}",
                "protocol": "kafka",
                "description": "The local stack's Kafka; MLIOT_KAFKA_BOOTSTRAP names another one.",
            },
        },
        "channels": {**_device_channels(), **{_channel(kind): _topic(kind) for kind in MESSAGES}},
        "operations": {
            **_device_operations(),
            **{
                f"{verb}{kind.__name__}": {
                    "action": verb,
                    "channel": {"$ref": f"#/channels/{_channel(kind)}"},
                    "summary": f"{'Write to' if verb == 'send' else 'Read from'} {kind.topic_name}",
                }
                for kind in MESSAGES
                for verb in ("send", "receive")
            },
        },
        "components": {
            "messages": {
                **{name: _device_message(name, schemas[name]["description"]) for name in ("DeviceFrame", "DeviceCommand", "DeviceAck")},
                **{kind.__name__: _message(kind) for kind in MESSAGES},
            },
            "schemas": schemas,
        },
    }


DEVICE_CHANNELS = {
    **{f"mqtt-{topic.replace('/{device}/', '-')}": (topic, "DeviceFrame", "A device publishes a reading.") for topic in FRAME_TOPICS},
    "mqtt-command": (COMMAND_TOPIC, "DeviceCommand", "The platform orders; the message expires with the command."),
    "mqtt-ack": (ACK_TOPIC, "DeviceAck", "A device answers to a command."),
}
"""By name: topic, message, and what happens on it."""


def _device_channels() -> dict[str, Any]:
    return {
        name: {
            "address": topic,
            "description": what,
            "servers": [{"$ref": "#/servers/mqtt"}],
            **({"parameters": {"device": {"description": "the device's name"}}} if "{device}" in topic else {}),
            "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        }
        for name, (topic, message, what) in DEVICE_CHANNELS.items()
    }


def _device_operations() -> dict[str, Any]:
    """From the platform's side."""
    return {
        f"{'send' if message == 'DeviceCommand' else 'receive'}-{name}": {
            "action": "send" if message == "DeviceCommand" else "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": what,
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
        }
        for name, (_, message, what) in DEVICE_CHANNELS.items()
    }


def _device_message(name: str, about: str) -> dict[str, Any]:
    return {
        "name": name,
        "summary": " ".join(about.replace("``", "`").split()),
        "contentType": "application/json",
        "headers": _headers("W3C trace context, as an MQTT 5 user property"),
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _headers(about: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"traceparent": {"type": "string", "description": about}}}


def _channel(kind: type[Message]) -> str:
    return kind.topic_name.removeprefix("stream-")


def _topic(kind: type[Message]) -> dict[str, Any]:
    return {
        "address": kind.topic_name,
        "description": _about(kind),
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
    }


def _message(kind: type[Message]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": _about(kind),
        "contentType": "application/json",
        "headers": _headers("W3C trace context of the frame that this goes back to"),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": _KEY}, "bindingVersion": "0.5.0"}},
    }


def _about(kind: type[Message]) -> str:
    return " ".join((getdoc(kind) or "").replace("``", "`").split())


def rendered() -> str:
    """The document as YAML."""
    made = "Made by `python -m mliot.asyncapi > docs/asyncapi.yaml` from the types that read and write: change those, not this file."
    return f"# {made}\n" + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    sys.stdout.write(rendered())
