"""The AsyncAPI 3.0 document of what travels through Kafka and MQTT: ``python -m streaming.asyncapi > docs/asyncapi.yaml`` makes it from the
types that read and write it."""

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from inspect import getdoc
from typing import Any, NamedTuple

import msgspec
import yaml

from mliot.devicemessages import ACK_TOPIC, COMMAND_TOPIC, DeviceAck, DeviceCommand
from mliot.frames import frame_schema
from mliot.measurements import load_measurements
from mliot.messages import MESSAGES, Message
from mliot.settings import HOST, Settings
from streaming.intake.decoders import Decoder, load_decoders

FRAME = "DeviceFrame"
BODIES: tuple[type[msgspec.Struct], ...] = (DeviceCommand, DeviceAck)
_NAMED = re.compile(r"\{(\w+)\}")
_LEVELS = re.compile(r"/\{\w+\}/|/")
_KEY = "place_id; of a device without a place, the device's name; empty for a message of unknown origin"


def document() -> dict[str, Any]:
    """The document as plain data: a channel a topic, the message on it, and the JSON schema of its value."""
    decoders = load_decoders()
    channels, envelopes = _channels(decoders), tuple(decoder.message for decoder in decoders if decoder.message)
    bodies = (FRAME, *(kind.__name__ for kind in (*BODIES, *envelopes)))
    _, schemas = msgspec.json.schema_components((*MESSAGES, *BODIES, *envelopes), ref_template="#/components/schemas/{name}")
    schemas[FRAME] = frame_schema(load_measurements())
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
        "channels": {**_device_channels(channels), **{_channel(kind): _topic(kind) for kind in MESSAGES}},
        "operations": {
            **_device_operations(channels),
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
                **{name: _device_message(name, schemas[name]["description"]) for name in bodies},
                **{kind.__name__: _message(kind) for kind in MESSAGES},
            },
            "schemas": schemas,
        },
    }


class Channel(NamedTuple):
    """A topic of MQTT, the message on it, and what happens there."""

    address: str
    message: str
    what: str


def _channels(decoders: Iterable[Decoder]) -> dict[str, Channel]:
    """The channels of MQTT by name."""
    return {
        **{f"mqtt-{_LEVELS.sub('-', topic)}": _frames_channel(topic, decoder) for decoder in decoders for topic in decoder.topics},
        "mqtt-command": Channel(COMMAND_TOPIC, DeviceCommand.__name__, "The platform orders; the message expires with the command."),
        "mqtt-ack": Channel(ACK_TOPIC, DeviceAck.__name__, "A device answers to a command."),
    }


def _frames_channel(topic: str, decoder: Decoder) -> Channel:
    if decoder.message is None:
        return Channel(topic, FRAME, "A device publishes a reading.")
    return Channel(topic, decoder.message.__name__, "A network server publishes what a device sent.")


def _device_channels(channels: Mapping[str, Channel]) -> dict[str, Any]:
    return {
        name: {
            "address": channel.address,
            "description": channel.what,
            "servers": [{"$ref": "#/servers/mqtt"}],
            **({"parameters": {level: {"description": f"which {level}"} for level in named}} if named else {}),
            "messages": {channel.message: {"$ref": f"#/components/messages/{channel.message}"}},
        }
        for name, channel in channels.items()
        for named in [_NAMED.findall(channel.address)]
    }


def _device_operations(channels: Mapping[str, Channel]) -> dict[str, Any]:
    """From the platform's side."""
    return {
        f"{verb}-{name}": {
            "action": verb,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": channel.what,
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
        }
        for name, channel in channels.items()
        for verb in ["send" if channel.address == COMMAND_TOPIC else "receive"]
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
    made = "Made by `python -m streaming.asyncapi > docs/asyncapi.yaml` from the types that read and write: change those, not this file."
    return f"# {made}\n" + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    sys.stdout.write(rendered())
