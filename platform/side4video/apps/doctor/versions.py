"""Versions of the packages that a run needs."""

from importlib import metadata

PACKAGES = (
    "side4video",
    *("torch", "torchvision", "open_clip_torch", "timm", "ray", "mlflow", "av", "decord", "torchcodec", "numpy"),
    *("pydantic", "safetensors", "huggingface_hub"),
)
NEEDED = ("torch", "torchvision", "open_clip_torch", "timm", "ray", "mlflow", "av", "numpy", "pydantic")
"""Packages without which no run starts."""


def versions() -> dict[str, str]:
    """The version of each package that is installed."""
    return {name: version for name in PACKAGES if (version := installed(name))}


def installed(package: str) -> str:
    """The version of a package; empty if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
