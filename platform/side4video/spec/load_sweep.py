"""Reading a sweep: its own file, and the base that it names."""

from pathlib import Path
from typing import Any

from side4video.spec.load import apply_override, parse_document, read_text, read_yaml
from side4video.spec.sweep import SweepSpec
from side4video.spec.sweep_arms import Sweep, build_sweep


def load_sweep(path: str | Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Read a sweep and check every arm of it.

    Args:
        path: The file.
        overrides: `dotted.path=value` each, of the sweep's document; `overrides.method.dim=64` cannot be said so,
            for its keys hold dots themselves: write `overrides={method.dim: 64}`.

    Raises:
        InputError: If the file, the base or an arm is wrong.
    """
    file = Path(path)
    text = read_text(file)
    document = read_yaml(text, str(file))
    for override in overrides:
        apply_override(document, override)
    spec = parse_document(SweepSpec, document, source=str(file), text=text)
    return build_sweep(spec, _base(spec, file), str(file))


def is_sweep(path: str | Path) -> bool:
    """Whether a file is a sweep's: it names the base of its arms.

    Raises:
        InputError: If it cannot be read.
    """
    return "base" in read_yaml(read_text(Path(path)), str(path))


def _base(spec: SweepSpec, file: Path) -> dict[str, Any]:
    if not isinstance(spec.base, str):
        return dict(spec.base)
    base = (file.parent / spec.base).resolve()
    return read_yaml(read_text(base), str(base))
