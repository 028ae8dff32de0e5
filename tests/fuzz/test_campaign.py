"""The short form of ``make fuzz``: every kept input as it stands, and a few chunks; and proof that the campaign would see a fault."""

from collections import Counter

import pytest

from mliot.featuremodels import FeatureModels
from mliot.messages import decode
from streaming.runtime.effects import Outcome
from streaming.services import bridge
from tests.fuzz import services
from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.command import summary
from tests.fuzz.corpus import Input, load
from tests.fuzz.minimise import minimised

SEED = 1


@pytest.fixture(scope="module")
def campaign(models: FeatureModels) -> Campaign:
    return Campaign(SEED, models)


def test_every_kept_input_is_accounted_for(campaign: Campaign) -> None:
    tally = campaign.replay(load())
    assert tally.findings == []
    assert sum(tally.frames.values()) == sum(not known.is_record for known in load())
    assert tally.frames["Frame"] > 8


def test_good_messages_and_records_are_all_used(campaign: Campaign) -> None:
    tally = campaign.replay(load("good_*"))
    assert tally.frames == {"Frame": 10, "Ack": 2}
    assert {fate for fate, count in tally.records.items() if count} <= {"used", "passed"}


def test_a_short_campaign_finds_nothing(campaign: Campaign) -> None:
    tally = Tally()
    for chunk in range(3):
        tally.add(campaign.run(chunk, frames=3000, records=200))
    assert tally.findings == [], "\n".join(f"{finding.error}; again: {finding.reproduction}" for finding in tally.findings)
    assert sum(tally.frames.values()) == 9000
    assert min(tally.frames[fate] for fate in ("Frame", "Ack", "DeadLetter")) > 100
    assert tally.records["inference used"] > 20
    assert "9,000 frames" in summary(tally, SEED, 1.0)


def test_a_chunk_is_the_same_again(campaign: Campaign) -> None:
    assert campaign.run(7, frames=300, records=30) == campaign.run(7, frames=300, records=30)


def test_what_escapes_is_found_and_made_small(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    decided = bridge.decide

    def falls_over_emoji(batch, **more) -> Outcome:
        assert not any("\N{GRINNING FACE}".encode() in message.payload for message in batch), "an emoji"
        return decided(batch, **more)

    monkeypatch.setattr(bridge, "decide", falls_over_emoji)
    (finding,) = campaign.replay([*load("good_messages"), Input("iot-frames-sensor", b'{"id":"\xf0\x9f\x98\x80"}')]).findings
    assert (finding.service, finding.error.partition("\n")[0][:24]) == ("bridge", "AssertionError: an emoji")
    assert finding.inputs == (Input("iot-frames-sensor", "\N{GRINNING FACE}".encode()),)


def test_a_letter_that_lost_a_byte_is_found(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    decided = bridge.decide

    def loses(batch, **more) -> Outcome:
        return decided([message._replace(payload=message.payload[:-1]) for message in batch], **more)

    monkeypatch.setattr(bridge, "decide", loses)
    (finding,) = campaign.replay([Input("iot-frames-sensor", b"{broken")]).findings
    assert "Violation: a dead letter's bytes are not those that came" in finding.error


def test_minimising_keeps_what_fails() -> None:
    inputs = [Input("a", b"one"), Input("b", b"xx-needle-yy"), Input("c", b"three")]
    assert minimised(inputs, lambda few: any(b"needle" in known.data for known in few)) == [Input("b", b"needle")]


def test_a_record_that_is_too_deep_is_refused_by_each_reader(models: FeatureModels) -> None:
    deep = b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    for target in services.targets(models):
        assert target.feed([Input(target.reads[0], deep)]) == Counter(rejected=1)
    with pytest.raises(ValueError, match="nested too deep"):
        decode(bridge.Ack, deep)
