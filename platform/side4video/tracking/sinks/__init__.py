"""Further places that show a run beside the store: TensorBoard and Weights & Biases (`tracking.also`).

Each module imports its package only inside functions, because the imports take a second and the packages are optional.
"""

from collections.abc import Sequence

from side4video.core.paths import expand, home
from side4video.spec.tracking import Sink as SinkSpec
from side4video.spec.tracking import TensorBoardSpec, WandbSpec
from side4video.tracking.sinks.guard import Guard
from side4video.tracking.sinks.sink import Sink
from side4video.tracking.sinks.tensorboard import TensorBoardSink
from side4video.tracking.sinks.wandb import WandbSink


def open_sinks(specs: Sequence[SinkSpec]) -> list[Guard]:
    """The places of a document's `tracking.also`, each behind a guard. Nothing is imported or written yet."""
    return [Guard(_open(spec)) for spec in specs]


def _open(spec: SinkSpec) -> Sink:
    match spec:
        case TensorBoardSpec():
            return TensorBoardSink(expand(spec.folder, "tracking.also.folder") or home() / "tensorboard")
        case WandbSpec():
            folder = expand(spec.folder, "tracking.also.folder") or home() / "wandb"
            return WandbSink(folder, project=spec.project, entity=spec.entity, mode=spec.mode)
