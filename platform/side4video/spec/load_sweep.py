"""Reading a sweep: its own file, and the base that it names."""

from pathlib import Path
from typing import Any

from side4video.spec.load import apply_override, parse_document, read_text, read_yaml
from side4video.spec.sweep import SweepSpec
from side4video.spec.arm import Sweep, build_sweep
from side4video.spec.arm import load_sweep, is_sweep, _base






