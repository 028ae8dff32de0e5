"""A decoder is a file: how it is found, what is said of one that is wrong, and what becomes of messages that it cannot read."""

import re
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from mliot.errors import DeclarationError, Rejected
from mliot.frames import MAX_BYTES
from streaming.intake.decoders import MAX_FRAMES, load_decoders
from streaming.runtime.effects import Outcome, Received
from streaming.services import bridge

README = Path(__file__).parents[4] / "README.md"
NOW = 1_764_000_000_000
ACME = """
    from __future__ import annotations

    import struct
    from dataclasses import dataclass

    from mliot.errors import Rejected

    TOPICS = ("acme/{site}/{meter}/up",)

    @dataclass
    class Reading:
        celsius: int

    def decode(topic, message):
        _, site, meter, _ = topic.split("/")
        if len(message) % 6:
            raise Rejected(f"{len(message)} bytes are no whole number of readings")
        for seconds, tenths in struct.iter_unpack("<Ih", message):
            reading = Reading(tenths)
            yield {"id": meter, "place_id": site, "payload": {"temperature": reading.celsius / 10, "timestamp": seconds}}
"""
EXAMPLES = """
    - topic: acme/yard/m7/up
      base64: AYEkaVYA
      frames:
        - {id: m7, place_id: yard, payload: {temperature: 8.6, timestamp: 1764000001}}
    - topic: acme/yard/m7/up
      text: seven b
      refused: no whole number
"""


def write(folder: Path, code: str = ACME, examples: str | None = EXAMPLES, name: str = "acme") -> Path:
    (folder / f"{name}.py").write_text(dedent(code))
    if examples is not None:
        (folder / f"{name}.examples.yaml").write_text(dedent(examples))
    return folder


def taken(folder: Path, *messages: tuple[str, bytes]) -> Outcome:
    batch = [Received(topic, message, "", NOW, (1, number)) for number, (topic, message) in enumerate(messages)]
    return bridge.decide(batch, decoders=load_decoders(folder), measurements={}, retention_ms=10**12, now_ms=NOW)


def letters(out: Outcome) -> list[str]:
    return [msgspec.json.decode(emit.value)["reason"] for emit in out.emits if emit.topic == "stream-deadletter"]


def packed(*readings: tuple[int, int]) -> bytes:
    return b"".join(seconds.to_bytes(4, "little") + tenths.to_bytes(2, "little", signed=True) for seconds, tenths in readings)


def test_one_file_brings_its_topics_and_its_frames(tmp_path: Path) -> None:
    write(tmp_path)
    assert load_decoders(tmp_path).subscriptions == (*load_decoders().subscriptions, "acme/+/+/up")
    out = taken(tmp_path, ("acme/yard/m7/up", packed((NOW // 1000, 215), (NOW // 1000 - 60, -40))))
    frames = [msgspec.json.decode(emit.value) for emit in out.emits]
    assert [emit.topic for emit in out.emits] == ["stream-frame"] * 2
    assert [emit.key for emit in out.emits] == ["yard"] * 2
    assert [frame["payload"] for frame in frames] == [{"temperature": 21.5}, {"temperature": -4.0}]
    assert [frame["event_ms"] for frame in frames] == [NOW, NOW - 60_000]
    assert len({frame["frame_id"] for frame in frames}) == 2
    assert out.counts == {"read": 1, "used": 1}


def test_what_a_decoder_refuses_or_falls_over_is_a_dead_letter_and_the_next_message_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        ACME.replace("_, site, meter, _ = topic.split", "_ = {b'boom': None}.get(message, 1) + 1; _, site, meter, _ = topic.split"),
    )
    good = packed((NOW // 1000, 215))
    out = taken(tmp_path, ("acme/a/b/up", b"boom"), ("acme/a/b/up", b"x"), ("acme/a/b/up", good), ("acme/a/b c/up", good))
    assert letters(out) == [
        "decoder acme: TypeError: unsupported operand type(s) for +: 'NoneType' and 'int'",
        "1 bytes are no whole number of readings",
        "id 'b c' may hold only letters, digits and _ . : -, at most 64",
    ]
    assert out.counts == {"read": 4, "used": 1, "rejected": 3}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("None", "decoder acme: TypeError: 'NoneType' object is not iterable"),
        ("[]", "decoder acme finds no frame in it"),
        ("{'id': 'a'}", "decoder acme makes a str of it, where a frame is a dict"),
        ("[{'id': 'a'}]", "payload is missing"),
        ("[{'id': 'a', 'payload': {7: 1}}]", "measurement name '7' may hold only letters, digits and _, at most 63"),
        ("[{'id': 'a', 'payload': {'x': float('nan')}}]", "x is not finite"),
        ("[{'id': object(), 'payload': {'x': 1}}]", "id is an object, not a string"),
        ("[{'id': 'a', 'payload': {'x': n}} for n in range(2)]", "it holds 2 frames of the same device and time (a@"),
        ("[{'id': 'a', 'payload': {'x': 1}}, {'id': 'b', 'payload': {'x': 'y'}}]", "x is a string, not a number"),
        ("({'id': f'd{n}', 'payload': {'x': n}} for n in __import__('itertools').count())", f"more than {MAX_FRAMES} frames of it"),
        ("(lambda f: f(f))(lambda f: f(f))", "decoder acme: RecursionError"),
    ],
)
def test_what_a_decoder_answers_goes_through_the_checks_of_every_frame(tmp_path: Path, answer: str, reason: str) -> None:
    code = f"""
        TOPICS = ["acme/up"]
        def decode(topic, message):
            return {answer} if message == b"bad" else [{{"id": "a", "payload": {{"x": 1}}}}]
    """
    write(tmp_path, code, "[{topic: acme/up, text: good, frames: [{id: a, payload: {x: 1}}]}]")
    out = taken(tmp_path, ("acme/up", b"bad"), ("acme/up", b"good"))
    assert len(letters(out)) == 1
    assert reason in letters(out)[0]
    assert out.counts["used"] == 1
    assert [emit.topic for emit in out.emits] == ["stream-deadletter", "stream-frame"], "of a message all frames or none"


def test_a_message_that_is_too_long_reaches_no_decoder() -> None:
    with pytest.raises(Rejected, match=f"at most {MAX_BYTES} are allowed"):
        load_decoders().bodies("iot-frames-model", b"{}" + b" " * MAX_BYTES)


@pytest.mark.parametrize(
    "topic", ["acme/up", "iot/a/b/frames", "application/7/device/24e1/event/join", "v3/a/devices/b", "iot-frames-modelx"]
)
def test_a_message_that_no_decoder_takes_is_a_dead_letter(topic: str) -> None:
    with pytest.raises(Rejected, match=r"there is no decoder for its topic \(any more\)"):
        load_decoders().bodies(topic, b"{}")


WRONG = {
    "syntax": (ACME.replace("def decode(", "def decode"), EXAMPLES, r"acme\.py: line 15: "),
    "raises": ("import struct\nTOPICS = ('a',)\n1 / 0\n", EXAMPLES, r"acme\.py: line 3: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", EXAMPLES, r"acme\.py: line 2: SystemExit: 3"),
    "no decode": ("TOPICS = ('a',)", EXAMPLES, r"acme\.py: decode is missing: a function of topic and message"),
    "no topics": ("def decode(topic, message): return []", EXAMPLES, r"acme\.py: TOPICS must be a tuple of MQTT topic filters"),
    "topics is text": (ACME.replace(",)", ")"), EXAMPLES, r"acme\.py: TOPICS must be a tuple"),
    "no filter": (ACME.replace("acme/{site}", "acme/#/{site}"), EXAMPLES, r"acme\.py: TOPICS: 'acme/#/.*': \+ stands for a whole level"),
    "message type": (ACME + "\n    MESSAGE = dict\n", EXAMPLES, r"acme\.py: MESSAGE must be a msgspec\.Struct"),
    "overlap": (ACME.replace("acme/{site}/{meter}/up", "iot/#"), EXAMPLES, r"acme\.py: TOPICS: 'iot/#' overlaps 'iot/\+/command/ack', on"),
    "commands": (ACME.replace("acme/{site}/{meter}/up", "iot/x/command"), EXAMPLES, r"'iot/x/command' overlaps 'iot/\+/command', on"),
    "two decoders": (
        ACME.replace("acme/{site}/{meter}/up", "iot/m7/frames"),
        EXAMPLES,
        r"acme\.py: TOPICS: 'iot/m7/frames' overlaps 'iot/\{device\}/frames' of .*plain\.py; a topic may have one decoder",
    ),
    "its own twice": (
        ACME.replace('/up",)', '/up", "acme/#")'),
        EXAMPLES,
        r"acme\.py: TOPICS: 'acme/#' overlaps 'acme/\{site\}/\{meter\}/up' of .*acme\.py",
    ),
    "no examples": (ACME, None, r"acme\.py: acme\.examples\.yaml is missing beside it: at least one message with the frames in it"),
    "empty examples": (ACME, "", r"acme\.examples\.yaml: holds no example with frames; at least one is needed"),
    "refusals alone": (ACME, EXAMPLES[EXAMPLES.rindex("    - topic") :], r"acme\.examples\.yaml: holds no example with frames"),
    "another value": (ACME, EXAMPLES.replace("8.6", "8.7"), r"examples\.yaml: example 1: makes \[.*8\.6.*\], not \[.*8\.7"),
    "not refused": (ACME, EXAMPLES.replace("seven b", "sixsix"), r"examples\.yaml: example 2: makes \[.*\], not refused"),
    "another reason": (ACME, EXAMPLES.replace("no whole", "some"), r"example 2: it is refused: 7 bytes are no whole number"),
    "another topic": (ACME, EXAMPLES.replace("acme/yard", "acme/yard/x", 1), r"example 1: topic 'acme/yard/x/m7/up' is none of its TOPICS"),
    "no frame": (
        ACME.replace('"id": meter', '"id": meter + " "'),
        EXAMPLES.replace("{id: m7", '{id: "m7 "'),
        r"example 1: it is refused: id 'm7 ' may hold only",
    ),
    "misspelt": (ACME, EXAMPLES.replace("frames:", "frame:"), r"examples\.yaml: 0\.frame: there is no such field; an example is \{topic, "),
    "two messages": (ACME, EXAMPLES.replace("text:", "json: 1\n      text:"), r"examples\.yaml: 1: the message stands there once"),
    "both ends": (ACME, EXAMPLES + "      frames: []\n", r"examples\.yaml: 1: it has either frames or refused"),
    "not YAML": (ACME, "[", r"acme\.examples\.yaml: is not YAML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_wrong_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    code, examples, said = WRONG[case]
    write(tmp_path, code, examples)
    with pytest.raises(DeclarationError) as error:
        load_decoders(tmp_path)
    assert re.search(said, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_two_with_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, name="plain")
    with pytest.raises(DeclarationError, match=r"plain\.py: a decoder named 'plain' stands in .*plain\.py already; rename the file"):
        load_decoders(tmp_path)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"nowhere: is not a folder of decoders \(MLIOT_DECODERS\)"):
        load_decoders(tmp_path / "nowhere")


def test_the_decoder_of_the_readme_reads_what_it_says(tmp_path: Path) -> None:
    _, _, section = README.read_text().partition("## Add a decoder\n")
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", section.partition("\n## ")[0], re.M)
    code, examples = (block for block in blocks if block.strip())
    write(tmp_path, code, examples)
    out = taken(tmp_path, ("acme/yard/m7/up", packed((NOW // 1000, 215))))
    assert [emit.topic for emit in out.emits] == ["stream-frame"]
