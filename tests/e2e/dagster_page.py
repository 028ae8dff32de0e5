"""A running Dagster as its web page sees it: asked, and told to run jobs, over GraphQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.e2e.stack import until

REPOSITORY = {"repositoryLocationName": "mliot", "repositoryName": "__repository__"}
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """mutation ($execution: ExecutionParams!) { launchRun(executionParams: $execution) {
    __typename ... on LaunchRunSuccess { run { runId } } } }"""
_RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status jobName tags { key value } } } }"
_ASSETS = """query ($group: AssetGroupSelector!) { assetNodes(group: $group) {
    assetKey { path } jobNames
    assetMaterializations(limit: 1) { runId metadataEntries { label ... on TextMetadataEntry { text } } }
    assetChecksOrError { ... on AssetChecks { checks {
        name blocking executionForLatestMaterialization { status runId evaluation { description } } } } } } }"""
_SCHEDULES = """query ($repository: RepositorySelector!) { schedulesOrError(repositorySelector: $repository) {
    ... on Schedules { results { name } } } }"""


@dataclass(frozen=True)
class Run:
    """A run of a job; ``sensor`` is the one that asked for it, None where a person did."""

    id: str
    job: str
    status: str
    sensor: str | None


@dataclass(frozen=True)
class Check:
    """A check as it stands for its asset's newest materialization: NONE, SUCCEEDED, FAILED, ..., and the run that evaluated it."""

    blocking: bool
    status: str = "NONE"
    run_id: str = ""
    description: str = ""


@dataclass(frozen=True)
class Asset:
    """An asset with its newest materialization: the run (empty where there is none) and the texts among its metadata."""

    jobs: frozenset[str]
    run_id: str
    metadata: Mapping[str, str]
    checks: Mapping[str, Check]


class Dagster:
    """The Dagster whose web server answers at ``address``."""

    def __init__(self, address: str) -> None:
        self._url = f"{address}/graphql"

    def assets(self, group: str) -> dict[str, Asset]:
        """The assets of ``group`` by the last part of their key."""
        nodes = self._ask(_ASSETS, group={**REPOSITORY, "groupName": group})["assetNodes"]
        return {node["assetKey"]["path"][-1]: _asset(node) for node in nodes}

    def schedules(self) -> set[str]:
        found = self._ask(_SCHEDULES, repository=REPOSITORY)["schedulesOrError"]["results"]
        return {schedule["name"] for schedule in found}

    def run(self, job: str, within_s: float = 400) -> Run:
        """Launches ``job`` as the page's button does, and waits for its end."""
        execution = {"selector": {**REPOSITORY, "jobName": job}, "runConfigData": {}}
        launched = self._ask(_LAUNCH, execution=execution)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return self.ended(launched["run"]["runId"], within_s)

    def ended(self, run_id: str, within_s: float = 400) -> Run:
        """The run as soon as it has ended."""

        def look() -> Run | None:
            told = self._ask(_RUN, id=run_id)["runOrError"]
            tags = {tag["key"]: tag["value"] for tag in told["tags"]}
            return Run(run_id, told["jobName"], told["status"], tags.get("dagster/sensor_name")) if told["status"] in ENDED else None

        return until(f"the run {run_id} has ended", look, within_s)

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = httpx.post(self._url, json={"query": query, "variables": variables}, timeout=60, trust_env=False).raise_for_status().json()
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])


def _asset(node: Mapping[str, Any]) -> Asset:
    newest = next(iter(node["assetMaterializations"]), None) or {"runId": "", "metadataEntries": []}
    texts = {entry["label"]: entry["text"] for entry in newest["metadataEntries"] if "text" in entry}
    checks = {check["name"]: _check(check) for check in node["assetChecksOrError"]["checks"]}
    return Asset(frozenset(node["jobNames"]), newest["runId"], texts, checks)


def _check(node: Mapping[str, Any]) -> Check:
    execution = node["executionForLatestMaterialization"]
    if execution is None:
        return Check(node["blocking"])
    description = (execution["evaluation"] or {}).get("description") or ""
    return Check(node["blocking"], execution["status"], execution["runId"], description)
