"""The machine's load: MLflow's names and units, moved by what the machine does."""

import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from side4video.engine import system_metrics
from side4video.engine.callbacks import StepInfo
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.process_group import ProcessGroup
from side4video.engine.system_metrics import SystemMetrics

CPU = torch.device("cpu")


def test_names_are_those_of_mlflows_own_monitor(tmp_path):
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    known = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        known |= {f"system/{name}" for name in monitor.metrics}
    found = SystemMetrics(CPU, tmp_path).sample()
    assert found.keys() == known
    assert all(value >= 0 for value in found.values())
    assert found["system/system_memory_usage_megabytes"] == pytest.approx(psutil.virtual_memory().used / 1e6, rel=0.3)
    assert found["system/disk_available_megabytes"] == pytest.approx(
        psutil.disk_usage(str(tmp_path)).free / 1e6, rel=0.1
    )


def times(**spent):
    fields = ("user", "system", "idle", "iowait", "guest", "guest_nice")
    return SimpleNamespace(_fields=fields, **{name: spent.get(name, 0.0) for name in fields})


def test_the_processor_is_as_busy_as_its_times_say(monkeypatch, tmp_path):
    readings = iter([times(), times(user=3, idle=1), times(user=3, idle=5, iowait=4), times(user=13, guest=10, idle=5)])
    monkeypatch.setattr(system_metrics.psutil, "cpu_times", lambda: next(readings))
    load = SystemMetrics(CPU, tmp_path)
    assert load.sample()["system/cpu_utilization_percentage"] == 75
    assert load.sample()["system/cpu_utilization_percentage"] == 0
    assert load.sample()["system/cpu_utilization_percentage"] == 100


def test_what_the_network_carried_before_does_not_count(monkeypatch, tmp_path):
    readings = iter([(5e6, 7e6), (6e6, 17e6)])

    def counters():
        sent, received = next(readings)
        return SimpleNamespace(bytes_sent=sent, bytes_recv=received)

    monkeypatch.setattr(system_metrics.psutil, "net_io_counters", counters)
    found = SystemMetrics(CPU, tmp_path).sample()
    assert (found["system/network_transmit_megabytes"], found["system/network_receive_megabytes"]) == (1, 10)


def test_a_gpus_memory_is_told_and_its_load_if_the_driver_says_it(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60_000_000, 80_000_000))
    monkeypatch.setattr(system_metrics, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 55)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 250_000)
    load = SystemMetrics(torch.device("cuda", 1), tmp_path)
    found = {name: value for name, value in load.sample().items() if "gpu" in name}
    assert found == {
        "system/gpu_1_memory_usage_percentage": 25,
        "system/gpu_1_memory_usage_megabytes": 20,
        "system/gpu_1_utilization_percentage": 55,
        "system/gpu_1_power_usage_watts": 250,
    }

    def refuse(device):
        raise RuntimeError("not supported")

    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    assert "system/gpu_1_utilization_percentage" not in load.sample()


# ---- each logged point has one sample, and a resumed run has no step twice


def step(number, name="a"):
    return StepInfo(
        step=number,
        epoch=0,
        clips=4,
        share=1.0,
        losses={name: 1.0},
        gradient_norms={name: 1.0},
        learning_rates={name: 0.1},
        seconds={"side": 0.1},
        own_seconds={name: 0.1},
    )


def logged(metrics_logger, numbers):
    for number in numbers:
        metrics_logger.after_step(step(number))
    return metrics_logger.take("a")


def steps_of(points, key):
    return [each.step for each in points if each.key == key]


KEYS = ("train/loss", "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes")


def test_a_sample_has_the_step_of_its_point():
    found = logged(MetricsLogger(ProcessGroup(), every_steps=3), range(7))
    for key in KEYS:
        assert steps_of(found, key) == [2, 5]
    metrics_logger = MetricsLogger(ProcessGroup(), every_steps=3)
    logged(metrics_logger, range(3))
    metrics_logger.clear()
    assert logged(metrics_logger, range(3, 5)) == []


def test_a_run_that_went_on_has_the_steps_of_the_undisturbed_one():
    before = MetricsLogger(ProcessGroup(), every_steps=3)
    first = logged(before, range(5))
    after = MetricsLogger(ProcessGroup(), every_steps=3)
    after.restore(before.gather_open_window())
    second = logged(after, range(5, 9))
    for key in KEYS:
        assert steps_of(first, key) + steps_of(second, key) == [2, 5, 8]


def test_twin_that_samples_by_the_clock_is_noticed(monkeypatch):
    """A sample whenever some time has passed falls on other steps each time: what the tests above look for."""

    class ByTheClock(MetricsLogger):
        def take(self, name):
            return [
                each._replace(step=int(time.monotonic_ns() % 1_000_003)) if each.key.startswith("system/") else each
                for each in super().take(name)
            ]

    found = logged(ByTheClock(ProcessGroup(), every_steps=3), range(7))
    assert steps_of(found, KEYS[0]) == [2, 5]
    assert steps_of(found, KEYS[1]) != [2, 5]
