"""A campaign in chunks: a chunk is a number, and with the seed it makes the same inputs and the same answers anywhere, by itself."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mliot.featuremodels import FeatureModels
from tests.fuzz import services
from tests.fuzz.corpus import Input, load
from tests.fuzz.minimise import minimised
from tests.fuzz.mutator import Mutator

FRAMES = 5_000
"""MQTT messages a chunk."""
RECORDS = 400
"""Kafka records a chunk, for each service that reads Kafka."""
BRIDGE = "bridge"


class Finding(NamedTuple):
    """What went wrong in a chunk, and the smallest inputs that it still goes wrong with."""

    service: str
    seed: int
    chunk: int
    error: str
    inputs: tuple[Input, ...]

    @property
    def reproduction(self) -> str:
        """The command that runs the chunk again."""
        return f"make fuzz SEED={self.seed} CHUNK={self.chunk}"


@dataclass
class Tally:
    """What became of the inputs: MQTT messages by the record that they became, Kafka records by service and fate."""

    frames: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.frames += other.frames
        self.records += other.records
        self.findings += other.findings


class Campaign:
    """Runs chunks of the campaign called ``seed``."""

    def __init__(self, seed: int, models: FeatureModels) -> None:
        self._seed = seed
        self._targets = services.targets(models)
        self._corpus = [*load(), *load("good_*"), *load("good_*")]  # what is valid more often, so that much of it goes all the way
        self._devices = [known for known in self._corpus if not known.is_record]

    def run(self, chunk: int, frames: int = FRAMES, records: int = RECORDS) -> Tally:
        """Feeds the chunk's inputs to every service."""
        rng = random.Random(f"{self._seed}/{chunk}")
        tally = Tally()
        mutator = Mutator(self._devices, rng)
        messages = [mutator.draw() for _ in range(frames)]
        bridged: list[Input] = []

        def bridge(inputs: Sequence[Input]) -> Counter[str]:
            fates, emits = services.bridged(inputs)
            bridged[:] = [Input(emit.topic, emit.value) for emit in emits]
            return fates

        tally.frames += self._feed(BRIDGE, chunk, messages, bridge, tally)
        for target in self._targets:
            topics = {*target.reads, *services.RECALLED.get(target.name, ())}
            mutator = Mutator([known for known in self._corpus if known.on in topics], rng)
            inputs = [mutator.draw() for _ in range(records)]
            inputs += rng.sample([came for came in bridged if came.on in topics], k=min(records // 5, sum(c.on in topics for c in bridged)))
            fates = self._feed(target.name, chunk, inputs, target.feed, tally)
            tally.records += Counter({f"{target.name} {fate}": count for fate, count in fates.items()})
        return tally

    def replay(self, inputs: Sequence[Input]) -> Tally:
        """Feeds ``inputs`` as they stand to every service that reads their topics."""
        tally = Tally()
        tally.frames += self._feed(BRIDGE, 0, [i for i in inputs if not i.is_record], lambda them: services.bridged(them)[0], tally)
        for target in self._targets:
            topics = {*target.reads, *services.RECALLED.get(target.name, ())}
            tally.records += self._feed(target.name, 0, [known for known in inputs if known.on in topics], target.feed, tally)
        return tally

    def _feed(
        self, service: str, chunk: int, inputs: Sequence[Input], feed: Callable[[Sequence[Input]], Counter[str]], tally: Tally
    ) -> Counter[str]:
        """The fates of ``inputs``; where anything escapes, a finding in ``tally`` instead."""
        try:
            return feed(inputs)
        except Exception as error:  # whatever escapes a service is what is looked for
            said = _said(error)
            kind = type(error)

            def fails(fewer: Sequence[Input]) -> bool:
                try:
                    feed(fewer)
                except Exception as again:
                    return type(again) is kind and _said(again)[:40] == said[:40]
                return False

            small = minimised(inputs, fails)
            tally.findings.append(Finding(service, self._seed, chunk, said, tuple(small)))
            return Counter()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
