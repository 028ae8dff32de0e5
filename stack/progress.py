"""How far the whole path has come on this stack, read from the store: what ``mliot demo`` shows and waits for."""

from dataclasses import dataclass

from lineage.store import connected
from mliot.settings import Settings


@dataclass(frozen=True)
class Decision:
    """One command with the prediction behind it; ``at_ms`` is when its present state began."""

    command_id: str
    place_id: str
    device: str
    action: str
    value: float
    model_version: str
    state: str
    decided_ms: int
    at_ms: int


@dataclass(frozen=True)
class Progress:
    """Counts along the path, and the newest decisions, newest first."""

    frames: int
    features: int
    predictions: int
    decisions: tuple[Decision, ...]

    @property
    def whole_chain(self) -> Decision | None:
        """The newest decision that came back from the device as done."""
        return next((decision for decision in self.decisions if decision.state == "acked"), None)

    def missing(self) -> str:
        """The first step of the path that nothing has come to yet."""
        if not self.frames:
            return "no frame is stored yet"
        if not self.features:
            return "no feature row is stored yet"
        if not self.predictions:
            return "no model is in charge yet: mliot status says at the endpoint what each use case waits for"
        if not self.decisions:
            return "no prediction became a command yet"
        return "no command is acked yet"


def read_progress(settings: Settings, newest: int = 8) -> Progress:
    """The progress as of now. Raises :class:`mliot.errors.Transient` while the store is away or empty."""
    with connected(settings) as store:
        counts = store.execute(
            """
            select (select count(*) from mliot.frame) as frames, (select count(*) from mliot.feature) as features,
                (select count(*) from mliot.prediction where not shadow) as predictions
            """
        ).fetchone()
        rows = store.execute(
            """
            select c.command_id, c.place_id, c.device, c.action, c.value, p.model_version, c.state, c.decided_ms, c.at_ms
            from mliot.command_now c join mliot.prediction p on p.id = c.prediction_id
            order by c.decided_ms desc limit %s
            """,
            (newest,),
        ).fetchall()
    assert counts is not None
    return Progress(**counts, decisions=tuple(Decision(**row) for row in rows))
