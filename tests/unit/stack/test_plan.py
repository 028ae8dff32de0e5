from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.errors import UserError
from mliot.services import SERVICES
from mliot.settings import Settings
from stack.plan import Part, choose, plan, startable


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, home=Path("/nowhere"), **changes)


PARTS = plan(settings())
NAMES = [part.name for part in PARTS]


def test_each_part_stands_behind_what_it_needs() -> None:
    for position, part in enumerate(PARTS):
        assert set(part.needs) <= set(NAMES[:position]), part.name


def test_every_service_is_a_part_and_every_port_is_its_own() -> None:
    assert set(SERVICES) <= set(NAMES)
    ports = Counter(listener.port for part in PARTS for listener in part.listeners)
    assert max(ports.values()) == 1


def test_every_listener_names_a_setting_that_moves_it() -> None:
    for part in PARTS:
        for listener in part.listeners:
            assert getattr(settings(), listener.setting) + listener.offset == listener.port


def test_without_names_all_are_chosen() -> None:
    assert choose(PARTS, []) == PARTS


def test_unknown_part_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="'mongo' is no part of the stack; its parts are artemis, kafka"):
        choose(PARTS, ["mongo"])


@given(st.lists(st.sampled_from(NAMES), min_size=1))
def test_chosen_parts_bring_what_they_need_in_the_plans_order_and_nothing_else(names: list[str]) -> None:
    chosen = choose(PARTS, names)
    found = [part.name for part in chosen]
    assert set(names) <= set(found)
    assert found == [name for name in NAMES if name in found]
    assert all(set(part.needs) <= set(found) for part in chosen)
    needed = {need for part in chosen for need in part.needs}
    assert set(found) <= set(names) | needed


@given(st.lists(st.sampled_from(PARTS), unique=True))
def test_every_part_becomes_startable_and_none_before_what_it_needs(parts: list[Part]) -> None:
    chosen = {part.name for part in parts}
    well: set[str] = set()
    while well != chosen:
        ready = startable((part for part in parts if part.name not in well), well)
        assert ready, chosen - well
        assert all(set(part.needs) & chosen <= well for part in ready)
        well.add(ready[0].name)


def test_a_part_does_not_wait_for_what_it_does_not_need() -> None:
    well = {"artemis", "kafka", "postgres", "bridge"}
    assert "fleet" in {part.name for part in startable((part for part in PARTS if part.name not in well), well)}


@pytest.mark.parametrize(
    ("setting", "value", "part"),
    [
        ("kafka_bootstrap", "kafka.example:9092", "kafka"),
        ("mqtt_url", "mqtt://broker.example:1883", "artemis"),
        ("postgres_dsn", "postgresql://me@db.example/x", "postgres"),
        ("endpoint_url", "http://models.example", "endpoint"),
        ("dagster_url", "http://dagster.example", "dagster-web"),
        ("dashboard_url", "http://page.example", "dashboard"),
    ],
)
def test_address_of_the_users_own_server_makes_that_part_external_and_no_other(setting: str, value: str, part: str) -> None:
    assert [one.name for one in plan(settings(**{setting: value})) if one.external] == [part]


def test_own_address_of_the_local_server_does_not_make_it_external() -> None:
    local = settings()
    servers = {"kafka_bootstrap": local.kafka_address, "mqtt_url": local.mqtt_address, "postgres_dsn": local.postgres_address}
    pages = {"endpoint_url": local.endpoint_address, "dagster_url": local.dagster_address, "dashboard_url": local.dashboard_address}
    same = settings(**servers, **pages)
    assert not any(part.external for part in plan(same))


def test_servers_stop_last() -> None:
    assert {part.name for part in PARTS if part.group == "servers"} == {"artemis", "kafka", "postgres"}
