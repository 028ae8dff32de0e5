"""Reading the training table: order, rounding, what is left out, what is a fault."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from learning.training.rows import faults, read_rows
from mliot.errors import DeclarationError
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))


def test_rows_are_by_time_and_in_the_declared_columns_order(make_table) -> None:
    table = make_table(FAN, 50, missing=0)
    shuffled = table.take(np.random.default_rng(1).permutation(50)).select(sorted(table.column_names))
    rows = read_rows(FAN, shuffled)
    assert rows.end_ms.tolist() == table["end_ms"].to_pylist()
    assert rows.values[:, 3].tolist() == np.float32(table[FAN.columns[3]].to_numpy()).tolist()
    assert rows.snapshot() == read_rows(FAN, table).snapshot()


def test_rows_without_label_are_left_out_and_nulls_are_nan(make_table) -> None:
    table = make_table(FAN, 20, missing=0)
    table = with_column(table, "label", [None, *table["label"].to_pylist()[1:]])
    table = with_column(table, "humidity_avg", [*table["humidity_avg"].to_pylist()[:-1], None])
    rows = read_rows(FAN, table)
    assert len(rows) == 19
    assert np.argwhere(np.isnan(rows.values)).tolist() == [[18, FAN.columns.index("humidity_avg")]]


def test_a_whole_column_of_nulls_of_no_type_is_read(make_table) -> None:
    table = make_table(FAN, 20, missing=0)
    at = table.column_names.index("luminosity_avg")
    rows = read_rows(FAN, table.set_column(at, "luminosity_avg", pa.nulls(20)))
    assert np.isnan(rows.values[:, FAN.columns.index("luminosity_avg")]).all()


def test_the_snapshot_changes_with_a_value(make_table) -> None:
    table = make_table(FAN, 20, missing=0)
    other = with_column(table, "humidity_avg", [1.0, *table["humidity_avg"].to_pylist()[1:]])
    one, two = read_rows(FAN, table).snapshot(), read_rows(FAN, other).snapshot()
    assert (
        (one.rows, one.first_ms, one.last_ms)
        == (two.rows, two.first_ms, two.last_ms)
        == (20, *pc.min_max(table["end_ms"]).as_py().values())
    )
    assert one.digest != two.digest


def test_a_lacking_column_is_named(make_table) -> None:
    with pytest.raises(DeclarationError, match="use case fan_speed: columns: its training table lacks humidity_avg"):
        read_rows(FAN, make_table(FAN, 20).drop_columns(["humidity_avg"]))


def test_a_sound_table_has_no_faults(make_table) -> None:
    assert faults(FAN, read_rows(FAN, make_table(FAN, 50))) == ()


def test_each_fault_is_told(make_table) -> None:
    table = make_table(FAN, 20, missing=0)
    table = with_column(table, "feature_id", ["same", "same", *table["feature_id"].to_pylist()[2:]])
    table = with_column(table, "available_ms", [table["end_ms"][0].as_py(), *table["available_ms"].to_pylist()[1:]])
    table = with_column(table, "label", [7.0, *table["label"].to_pylist()[1:]])
    table = with_column(table, "humidity_avg", [float("inf"), *table["humidity_avg"].to_pylist()[1:]])
    assert faults(FAN, read_rows(FAN, table)) == (
        "1 feature rows stand in the table twice",
        "1 labels are said to be available before their delay has passed",
        "labels 7 are not among the classes",
        "humidity_avg holds an infinite value",
    )
