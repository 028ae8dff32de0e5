"""Forty seeds of the whole platform, and a proof that the checker bites: without each of four safeguards a seed fails."""

from pathlib import Path

import pytest

from mliot.featuremodels import load_feature_models
from tests.simulation.run import compiled, run
from tests.simulation.surroundings import Databases
from tests.simulation.world import Switches

SEEDS = 40
MAX_SEEDS = 2_000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("simulation"))


@pytest.fixture(scope="module")
def databases(manifest: Path) -> Databases:
    return Databases(load_feature_models(manifest))


def test_every_seed_holds_what_was_promised(databases: Databases) -> None:
    failing = {seed: findings for seed in range(1, SEEDS + 1) if (findings := run(seed, databases))}
    assert failing == {}, "python -m tests.simulation SEED tells the story of one"


def test_a_seed_repeats_exactly(databases: Databases) -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        run(7, databases, tell=story.append)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 10


@pytest.mark.parametrize(
    ("switches", "first"),
    [
        pytest.param(Switches(trust_late_commits=True), 1, id="a late commit is trusted"),
        pytest.param(Switches(forget_doubt_on_open=True), 1, id="a doubt is forgotten when a commit ends during Open"),
        pytest.param(Switches(acknowledge_first=True), 1, id="MQTT is acknowledged before Kafka has it"),
        pytest.param(Switches(positions_first=True), 1, id="positions are committed before the output"),
    ],
)
def test_the_checker_bites(databases: Databases, switches: Switches, first: int, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(first, first + MAX_SEEDS):
        findings = run(seed, databases, switches)
        if findings:
            with capsys.disabled():
                print(f"\n{switches}: seed {seed} fails: {findings[0]}")
            assert run(seed, databases) == [], "the platform as it is passes the same seed"
            return
    pytest.fail(f"no seed of {MAX_SEEDS} fails")
