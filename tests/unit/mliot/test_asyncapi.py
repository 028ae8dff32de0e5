"""docs/asyncapi.yaml says what the message types say."""

from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from mliot.asyncapi import document, rendered
from mliot.messages import MESSAGES

DOCUMENT = Path(__file__).parents[3] / "docs" / "asyncapi.yaml"


def example(kind):
    """A message of ``kind`` with a value for every field that must have one."""
    values = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            values[field.encode_name] = "x@1#00000000" if field.encode_name == "command_id" else _value(field.type)
    return msgspec.convert(values, kind)


def _value(annotation):
    info = msgspec.inspect.type_info(annotation)
    info = info.type if isinstance(info, msgspec.inspect.Metadata) else info
    match info:
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.DictType():
            return {"temperature": 20.5}
        case msgspec.inspect.StrType():
            return "x"
        case msgspec.inspect.IntType():
            return 1
        case msgspec.inspect.FloatType():
            return 1.5
        case msgspec.inspect.BoolType():
            return True
    raise AssertionError(f"no example of {annotation}")


def test_the_file_is_the_one_that_the_messages_make():
    assert DOCUMENT.read_text() == rendered(), "run: python -m mliot.asyncapi > docs/asyncapi.yaml"


def test_every_topic_has_its_channel_and_message():
    channels = yaml.safe_load(DOCUMENT.read_text())["channels"]
    assert {channel["address"]: list(channel["messages"]) for channel in channels.values()} == {
        kind.topic_name: [kind.__name__] for kind in MESSAGES
    }


def test_every_reference_leads_somewhere():
    whole = document()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                at = whole
                for part in node["$ref"].removeprefix("#/").split("/"):
                    at = at[part]
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(whole)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_what_is_sent_fits_the_schema_and_what_lacks_a_field_does_not(kind):
    schema = {**document(), "$ref": f"#/components/schemas/{kind.__name__}"}
    sent = msgspec.json.decode(example(kind).encode())
    jsonschema.Draft202012Validator(schema).validate(sent)
    needed = document()["components"]["schemas"][kind.__name__]["required"]
    for name in needed:
        with pytest.raises(jsonschema.ValidationError, match=name):
            jsonschema.Draft202012Validator(schema).validate({key: value for key, value in sent.items() if key != name})
