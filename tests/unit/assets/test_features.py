"""What of dbt's results counts as an error, and where its models stand."""

import dagster as dg

from assets.features import ModelTranslator, failed_models


def test_a_model_whose_sql_failed_is_named_with_its_reason() -> None:
    results = [
        {"unique_id": "model.mliot.frames", "status": "success", "message": "OK"},
        {"unique_id": "model.mliot.windows_place_1m", "status": "error", "message": "Binder Error:\n  no column x"},
    ]
    assert failed_models(results) == ["windows_place_1m error: Binder Error: no column x"]


def test_a_failed_test_and_what_was_left_out_for_it_are_no_errors() -> None:
    results = [
        {"unique_id": "test.mliot.frames_filled.1a2b", "status": "fail", "message": "Got 3 results"},
        {"unique_id": "model.mliot.windows_place_1m", "status": "skipped", "message": None},
    ]
    assert failed_models(results) == []


def test_models_stand_under_their_schema_and_training_sets_under_their_use_case() -> None:
    translator = ModelTranslator()
    model = {"schema": "features", "name": "features_place_1m", "config": {"meta": {"kind": "feature"}}}
    training = {"schema": "training", "name": "training_pump", "config": {"meta": {"kind": "training", "use_case": "pump"}}}
    assert translator.get_asset_key(model) == dg.AssetKey(["features", "features_place_1m"])
    assert translator.get_asset_key(training) == dg.AssetKey(["pump", "training_set"])
