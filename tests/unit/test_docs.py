"""The documents say what the code is: settings, topics, commands and decisions are looked up in them."""

import re
from pathlib import Path

import pytest

from mliot.messages import TOPICS
from mliot.services import SERVICES
from mliot.settings import PREFIX, Settings
from mliot.settings_docs import env_example, settings_page
from streaming.intake.decoders import load_decoders
from streaming.services.bridge import subscriptions

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_settings_page_and_example_are_made_from_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), "run: python -m mliot.settings_docs"
    assert (ROOT / ".env.example").read_text() == env_example(), "run: python -m mliot.settings_docs"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_no_document_names_a_setting_that_is_none(path: Path) -> None:
    # MLIOT_DATA and the like may be read by tests and benchmarks only, and are named there
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"MLIOT_[A-Z_]+[A-Z]", path.read_text()))
    assert named <= known, named - known


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_architecture_names_every_topic_and_service() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert [topic for topic in TOPICS if topic not in text] == []
    assert [service for service in SERVICES if service not in text] == []
    assert [topic for topic in subscriptions(Settings(_env_file=None), load_decoders()) if topic not in text] == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\(([a-z-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_every_test_that_a_promise_names_is_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"`((?:tests|streaming|mliot|assets|serving|warehouse|learning|lineage|stack)/[a-z_/.]*)`", text))
    assert len(named) > 30
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_architecture_has_a_line_for_every_package_and_names_no_file_that_is_not_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")} - {"tests"}
    assert sorted(package for package in packages if f"`{package}/" not in text) == []
    named = set(re.findall(r"`((?:{})/[a-z_/]*[a-z_](?:\.py|\.sql|/))`".format("|".join(packages)), text))
    assert len(named) > 20
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
