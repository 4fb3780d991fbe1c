"""How busy the machine is while a run trains: processor, memory, disk, network, GPU.

The names and units are those of MLflow's own system metrics, so that its pages show them as such. MLflow's monitor
samples in a thread of its own, by the clock; here a sample belongs to a logged point. It has that point's step, travels
with it through whatever carries points, and a run that died and went on has no step twice.
"""

from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from side4video.core.paths import home

MEGABYTE = 1e6


class SystemMetrics:
    """The machine of one worker, from when this is made."""

    def __init__(self, device: torch.device, disk: Path | None = None) -> None:
        """Begin to count.

        Args:
            device: What the worker computes on.
            disk: A folder of the disk that is looked at; by default the platform's folder.
        """
        self._device, self._disk = device, disk or home()
        self._reads_load = find_spec("pynvml") is not None  # torch asks the driver through it
        self._sent, self._received = self._network()
        self._processor = psutil.cpu_times()

    def sample(self) -> dict[str, float]:
        """`system/...` by MLflow's names: percentages, megabytes, watts.

        Processor: since the last sample. Network: sent and received since this was made. The rest: now.
        """
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._disk))
        sent, received = self._network()
        figures = {
            "cpu_utilization_percentage": self._busy(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_available_megabytes": disk.free / MEGABYTE,
            "network_receive_megabytes": (received - self._received) / MEGABYTE,
            "network_transmit_megabytes": (sent - self._sent) / MEGABYTE,
            **self._gpu(),
        }
        return {f"system/{name}": value for name, value in figures.items()}

    def _busy(self) -> float:
        """The share of the processor's time that was not idle since the last call."""
        before, self._processor = self._processor, psutil.cpu_times()
        spent = {name: getattr(self._processor, name) - getattr(before, name) for name in before._fields}
        # Linux counts the time of guests twice.
        whole = sum(spent.values()) - spent.get("guest", 0.0) - spent.get("guest_nice", 0.0)
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return min(100.0, max(0.0, 100 * (1 - idle / whole))) if whole > 0 else 0.0

    def _network(self) -> tuple[int, int]:
        """Bytes sent and received since the machine came up; zeros where nobody may know."""
        counters = psutil.net_io_counters()
        return (counters.bytes_sent, counters.bytes_recv) if counters else (0, 0)

    def _gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        free, total = torch.cuda.mem_get_info(self._device)
        name = f"gpu_{self._device.index or 0}"
        figures = {
            f"{name}_memory_usage_percentage": 100 * (total - free) / total,
            f"{name}_memory_usage_megabytes": (total - free) / MEGABYTE,
        }
        if self._reads_load:
            try:
                figures[f"{name}_utilization_percentage"] = float(torch.cuda.utilization(self._device))
                figures[f"{name}_power_usage_watts"] = torch.cuda.power_draw(self._device) / 1000
            except Exception:  # a driver that does not say it, in whatever way: it will not say it later
                self._reads_load = False
        return figures
