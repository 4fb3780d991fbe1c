import copy
import json
import math
import time

import pytest

from side4video.core.metric import MAX_VALUE, Metric, check_key, from_json, to_json


def test_a_metric_of_now_has_the_time_of_the_call():
    before = time.time_ns() // 1_000_000
    metric = Metric.now("time/step_s", 2, 1)
    assert (metric.key, metric.value, metric.step) == ("time/step_s", 2.0, 1)
    assert before <= metric.timestamp_ms <= time.time_ns() // 1_000_000


def test_a_metric_travels_as_a_row_and_comes_back():
    """Ray's reports and checkpoints hold rows; a NamedTuple is one."""
    metric = Metric("a", 0.5, 3, 7)
    assert Metric(*json.loads(json.dumps(metric))) == metric
    assert copy.deepcopy(metric) == metric


def test_infinities_become_the_largest_double_and_nan_stays():
    assert Metric("a", math.inf, 0, 0).value == MAX_VALUE
    assert Metric("a", -math.inf, 0, 0).value == -MAX_VALUE
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
