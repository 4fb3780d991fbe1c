"""Load of the machine during training: CPU, memory, disk, network, GPU.

Names and units are those of MLflow's system metrics, so MLflow's pages show them as such. MLflow's own monitor samples
in a thread at fixed intervals. Here each sample belongs to a logged step, so a resumed run logs no step twice.
"""

from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from side4video.core.paths import home

MEGABYTE = 1e6


class SystemMetrics:
    """Samples the machine of one worker."""

    def __init__(self, device: torch.device, disk: Path | None = None) -> None:
        """Start counting network and CPU use.

        `disk` is a folder on the disk to measure; by default `SIDE4VIDEO_HOME`.
        """
        self._device, self._disk = device, disk or home()
        self._reads_load = find_spec("pynvml") is not None  # torch needs it to ask the driver
        self._sent, self._received = self._network()
        self._processor = psutil.cpu_times()

    def sample(self) -> dict[str, float]:
        """Metrics `system/...` with MLflow's names, in percent, megabytes and watts.

        CPU: since the last sample. Network: since this object was created. All others: now.
        """
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._disk))
        sent, received = self._network()
        figures = {
            "cpu_utilization_percentage": self._cpu_percent(),
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

    def _cpu_percent(self) -> float:
        """CPU use since the last call, in percent."""
        before, self._processor = self._processor, psutil.cpu_times()
        spent = {name: getattr(self._processor, name) - getattr(before, name) for name in before._fields}
        # Linux counts the time of virtual guests twice.
        total = sum(spent.values()) - spent.get("guest", 0.0) - spent.get("guest_nice", 0.0)
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return min(100.0, max(0.0, 100 * (1 - idle / total))) if total > 0 else 0.0

    def _network(self) -> tuple[int, int]:
        """Bytes sent and received since boot; zeros if the counters are not accessible."""
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
            except Exception:  # drivers raise various errors if they do not support it; do not ask again
                self._reads_load = False
        return figures
