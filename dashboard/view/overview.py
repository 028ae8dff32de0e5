"""The whole page as one value: equal views mean that nothing has to be sent. Pure."""

from dataclasses import dataclass

from dashboard.data.rows import Snapshot
from dashboard.view.models import ModelView, ParityView, model_views, parity_view
from dashboard.view.operations import (
    CommandView,
    Problem,
    RefusalsView,
    ServiceView,
    UnknownView,
    command_views,
    peer_view,
    problems,
    refusals_view,
    service_views,
    unknown_views,
)
from dashboard.view.places import Known, PlaceView, place_views

READING = "Reading the store …"
NO_PLACES = "No reading yet. A place appears here with the first frame that one of its devices publishes over MQTT."
NO_COMMANDS = "No command yet. One is sent with each prediction of a use case that acts."
NOT_READ = "Not read yet."


@dataclass(frozen=True)
class Overview:
    """Each list beside what its section says while it is empty."""

    status: str
    live: bool
    problems: tuple[Problem, ...]
    places: tuple[PlaceView, ...]
    places_note: str
    models: tuple[ModelView, ...]
    parity: ParityView
    services: tuple[ServiceView, ...]
    commands: tuple[CommandView, ...]
    commands_note: str
    refusals: RefusalsView
    unknown: tuple[UnknownView, ...]


def overview(snapshot: Snapshot, known: Known) -> Overview:
    """What the page shows of ``snapshot``."""
    rows = snapshot.store
    places = place_views(rows, known, snapshot.now_ms) if rows else ()
    return Overview(
        status="store away" if snapshot.away else "live" if rows else "starting",
        live=rows is not None and not snapshot.away,
        problems=problems(snapshot),
        places=places,
        places_note=_places_note(snapshot, len(places)),
        models=model_views(snapshot, known),
        parity=parity_view(rows.parity) if rows else ParityView(""),
        services=(
            *service_views(snapshot.services or ()),
            peer_view("endpoint", snapshot.endpoint),
            peer_view("dagster", snapshot.dagster),
        ),
        commands=command_views(rows.commands, known, snapshot.now_ms) if rows else (),
        commands_note="" if rows and rows.commands else NO_COMMANDS if rows else NOT_READ,
        refusals=refusals_view(rows.refusals) if rows else RefusalsView(NOT_READ, ()),
        unknown=unknown_views(rows.unknown, known) if rows else (),
    )


def _places_note(snapshot: Snapshot, shown: int) -> str:
    rows = snapshot.store
    if rows is None:
        return NOT_READ if snapshot.away else READING
    if not rows.places:
        return NO_PLACES
    return f"The {shown} heard of last, of {rows.places:,} places; the search finds the others." if rows.places > shown else ""
