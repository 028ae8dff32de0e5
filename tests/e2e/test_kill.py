"""``kill -9`` of each part in turn, while 200 frames a second come in; then every id is accounted for, and a fresh frame gets through."""

from collections.abc import Callable, Iterator

import pytest

from learning.store import ModelStore
from mliot.settings import Settings
from tests.e2e.publisher import Publisher
from tests.e2e.stack import Stack, running, until
from usecases import load_use_cases

SERVICES = ("bridge", "features", "inference", "online", "store", "commands")
VICTIMS = (*SERVICES, "endpoint", "postgres", "kafka", "artemis")
FRAMES_PER_S = 200

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def stack(make_settings: Callable[..., Settings], save_constant_model: Callable[..., str]) -> Iterator[Stack]:
    settings = make_settings()
    store = ModelStore(settings.models_path)
    use_case = load_use_cases()["fan_speed"]
    store.move("fan_speed", "champion", save_constant_model(store, use_case, 2.0), who="test", why="a champion to ask")
    with running(settings, "endpoint", *SERVICES) as started:
        yield started


def test_nothing_owed_is_missing_and_nothing_comes_twice(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    took: dict[str, float] = {}
    with Publisher(stack.settings, FRAMES_PER_S) as publisher:
        for victim in VICTIMS:
            killed = stack.kill(victim)
            took[victim] = stack.wait_well(victim, killed)
        sent = publisher.sent
        fresh = publisher.one("fresh-one")
    assert sent > FRAMES_PER_S * 10
    until("the fresh frame is in the store", lambda: stack.mliot("trace", fresh, "--json").returncode == 0, within_s=60)
    audit = stack.mliot("audit", "--wait", "120")
    with capsys.disabled():
        print(f"\n{sent} frames; well again after, in s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items()))
    assert audit.returncode == 0, audit.stdout[-6000:] + audit.stderr[-2000:]
    assert "clean" in audit.stdout
