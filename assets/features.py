"""dbt over history: staging, windows, features and training sets, each model an asset and each test an asset check."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliInvocation, DbtProject, dbt_assets

from assets import keys
from assets.dbt import Dbt
from mliot.settings import Settings
from warehouse.access import held_by, opened, writing
from warehouse.raw import create_raw_tables


class ModelTranslator(DagsterDbtTranslator):
    """A model stands under its schema; a training set under its use case."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        use_case = _trained(dbt_resource_props)
        return keys.training_set(use_case) if use_case else dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        return spec.replace_attributes(group_name=_trained(self.get_resource_props(manifest, unique_id)) or keys.FEATURES)

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """Not blocking: that would fail the whole build, and so hold up the use cases that the test has nothing to do with.

        dbt itself leaves out what depends on a failed test, and the gate refuses a candidate whose training set failed one.
        """
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return spec._replace(blocking=False) if spec else None


def feature_assets(manifest: Path) -> dg.AssetsDefinition:
    """Every model of the project in one ``dbt build``, or any of them alone."""

    known = msgspec.json.decode(manifest.read_bytes())

    @dbt_assets(
        manifest=known,
        exclude=" ".join(f"source:{name}+" for name in unread_sources(known)) or None,
        dagster_dbt_translator=ModelTranslator(),
        name="dbt",
        pool=keys.WAREHOUSE_POOL,
    )
    def dbt_models(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], dbt: Dbt) -> Iterator[Any]:
        say = context.log.warning
        with writing(settings, say=say) as deadline:
            while True:
                with opened(settings, deadline, say) as con:
                    create_raw_tables(con)
                invocation = dbt.cli(["build"], context=context.op_execution_context, raise_on_error=False)
                yield from invocation.stream()
                if not was_locked_out(invocation) or deadline.passed():
                    break
        # A test that failed is a failed check, and what dbt left out because of it keeps its last rows. A model that failed is an error.
        broken = failed_models(_results(invocation))
        if broken:
            raise dg.Failure(f"dbt: {'; '.join(broken)}; see {invocation.target_path / 'dbt.log'}")

    return dbt_models


def unread_sources(manifest: Mapping[str, Any]) -> list[str]:
    """The raw tables that no model reads, such as ``raw.ack``: their tests are no asset checks, and a build need not wait for them."""
    read = {parent for node in manifest["nodes"].values() if node["resource_type"] == "model" for parent in node["depends_on"]["nodes"]}
    return sorted(f"{source['source_name']}.{source['name']}" for name, source in manifest["sources"].items() if name not in read)


def was_locked_out(invocation: DbtCliInvocation) -> bool:
    """True where dbt came to nothing because somebody had opened the warehouse file between our look and its own."""
    if (invocation.target_path / "run_results.json").exists():
        return False
    return held_by(str(invocation.get_error())) is not None


def failed_models(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """In a line each, the models whose SQL failed, of the ``results`` in dbt's run_results.json."""
    return [
        f"{result['unique_id'].rsplit('.', 1)[-1]} {result['status']}: {' '.join((result.get('message') or 'no reason given').split())}"
        for result in results
        if result["unique_id"].startswith("model.") and result["status"] in ("error", "runtime error")
    ]


def _results(invocation: DbtCliInvocation) -> Sequence[Mapping[str, Any]]:
    """What dbt says of each node. Raises its error where it came to none."""
    if not (invocation.target_path / "run_results.json").exists():
        raise invocation.get_error() or dg.Failure("dbt ended without a word of what it did")
    return list(invocation.get_artifact("run_results.json")["results"])


def _trained(props: Mapping[str, Any]) -> str | None:
    """The use case whose training set a dbt model is."""
    meta = props.get("config", {}).get("meta", {})
    return str(meta["use_case"]) if meta.get("kind") == "training" else None
