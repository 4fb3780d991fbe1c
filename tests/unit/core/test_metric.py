import json
import math
import time

import pytest

from side4video.core.metric import LARGEST, Metric, MetricBuffer, check_key, from_json, to_json


def test_buffer_keeps_order_and_time_and_is_empty_after_draining():
    buffer = MetricBuffer()
    before = time.time_ns() // 1_000_000
    buffer.append("train/loss", 0.5, step=1)
    buffer.append("time/step_s", 2, step=1)
    assert len(buffer) == 2
    metrics = buffer.drain()
    assert [(m.key, m.value, m.step) for m in metrics] == [("train/loss", 0.5, 1), ("time/step_s", 2.0, 1)]
    assert all(before <= m.timestamp_ms <= time.time_ns() // 1_000_000 for m in metrics)
    assert buffer.drain() == []


def test_drained_metrics_do_not_change_with_the_buffer():
    buffer = MetricBuffer()
    buffer.append("a", 1, step=0)
    metrics = buffer.drain()
    buffer.append("b", 1, step=0)
    assert [m.key for m in metrics] == ["a"]


def test_infinities_become_the_largest_double_and_nan_stays():
    assert Metric("a", math.inf, 0, 0).value == LARGEST
    assert Metric("a", -math.inf, 0, 0).value == -LARGEST
    assert math.isnan(Metric("a", math.nan, 0, 0).value)


def test_json_round_trip_is_strict_json_and_keeps_every_value():
    metrics = [
        Metric("train/loss", 0.1 + 0.2, 7, 1_700_000_000_123),
        Metric("eval/top1", math.nan, 8, 5),
        Metric("x", math.inf, 0, 0),
    ]
    text = to_json(metrics)
    assert "\n" not in text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = from_json(text)
    assert back[0] == metrics[0]
    assert back[2] == metrics[2]
    assert math.isnan(back[1].value)
    assert (back[1].key, back[1].step) == ("eval/top1", 8)


@pytest.mark.parametrize("text", ["{}", "[1]", "[[1, 2]]", '[["a", "b", 0, 0]]', "nonsense"])
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


@pytest.mark.parametrize("key", ["train/loss", "best/eval/top-1", "class 3: a.b", "time/step_s", "k" * 250])
def test_keys_that_mlflow_takes(key):
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "..a", ".", "ä", "a\n", "a,b", "a@b", "k" * 251])
def test_keys_that_mlflow_refuses(key):
    with pytest.raises(ValueError, match="metric name"):
        Metric(key, 1.0, 0, 0)


def test_our_rule_for_keys_is_no_wider_than_mlflows():
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric_name

    for key in ["train/loss", "a b", "a:b", "a.b/c-d_e", "..a/b", "/a", "a//b", "a/../b", "ä", "a,b", ".", "k" * 251]:
        try:
            check_key(key)
        except ValueError:
            continue
        try:
            _validate_metric_name(key)
        except MlflowException as error:
            pytest.fail(f"we take {key!r}, MLflow does not: {error}")
