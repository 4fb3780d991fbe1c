"""What this machine offers for training: GPUs, memory, cores. Only looking for GPUs imports torch."""

from dataclasses import asdict, dataclass
from pathlib import Path

from side4video.spec.resources import usable_cores

_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much memory a container may use, in versions 2 and 1 of its control groups."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch can use."""

    name: str
    memory_bytes: int
    has_bfloat16: bool
    """Whether it computes in bf16 itself. Older ones only imitate it, and are slow at it."""


@dataclass(frozen=True)
class Machine:
    """What a machine offers."""

    cores: int
    """Cores that this process may use."""
    memory_bytes: int
    """Main memory that this process may use."""
    gpus: tuple[Gpu, ...] = ()

    def as_json(self) -> dict[str, object]:
        """JSON values."""
        return asdict(self)


def this_machine() -> Machine:
    """The machine that the command runs on. It imports torch, which takes seconds."""
    return Machine(cores=usable_cores(), memory_bytes=usable_memory(), gpus=find_gpus())


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that torch can use, in its order."""
    import torch

    if not torch.cuda.is_available():
        return ()
    devices = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return tuple(Gpu(each.name, each.total_memory, has_bfloat16=each.major >= 8) for each in devices)


def usable_memory(limits: tuple[Path, ...] = _MEMORY_LIMITS) -> int:
    """Main memory in bytes: what the machine has, or the limit of its container if that is less."""
    import psutil

    found = [psutil.virtual_memory().total]
    for file in limits:
        try:
            text = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdecimal() and int(text):
            found.append(int(text))
    return min(found)
