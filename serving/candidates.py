"""Why nothing is in charge of a use case: whether anything was trained for it, and what the gate said."""

from mliot.errors import MliotError
from mliot.gate import judge
from mliot.lineage.trace import clock_time
from mliot.modelstore import ModelStore
from mliot.usecase import UseCase


def why_no_champion(store: ModelStore, use_case: UseCase) -> str:
    """One line. The gate is judged here as Dagster does: from the evidence that the newest candidate carries with it."""
    name = use_case.name
    versions = store.versions(name)
    if not versions:
        return "no candidate was trained; Dagster trains the first one as soon as there are enough labelled rows"
    try:
        card = store.get(name, versions[-1]).card
    except MliotError as error:
        return f"its newest candidate cannot be read: {error}"
    trained = f"{len(versions)} trained, the newest at {clock_time(card.created_ms)} UTC"
    refused = next((check for check in judge(use_case.gate, card.evidence).checks if not check.passed), None)
    if refused is None:
        return f"its candidate passes the gate, and is not promoted ({trained}); Dagster tells at {name}/champion"
    return f"the gate refused its candidate ({trained}): {refused}; Dagster tells at {name}/candidate, check passes_gate"
