"""Further places that show a run beside the store: TensorBoard and Weights & Biases (`tracking.also`).

Each module imports its package only inside functions, because the imports take a second and the packages are optional.
"""

from collections.abc import Sequence

from side4video.core.paths import home
from side4video.spec.check_folders import sink_folder
from side4video.spec.tracking import Sink as SinkSpec
from side4video.spec.tracking import TensorBoardSpec, WandbSpec
from side4video.tracking.sinks.guard import Guard
from side4video.tracking.sinks.sink import Sink
from side4video.tracking.sinks.tensorboard import TensorBoardSink
from side4video.tracking.sinks.wandb import WandbSink


def open_sinks(specs: Sequence[SinkSpec]) -> list[Guard]:
    """The places of a document's `tracking.also`, each behind a guard. Nothing is imported or written yet.

    Raises:
        InputError: The folder of one names an environment variable that is not set.
    """
    return [Guard(_open(spec, number)) for number, spec in enumerate(specs)]


def _open(spec: SinkSpec, number: int) -> Sink:
    folder = sink_folder(spec, number)
    match spec:
        case TensorBoardSpec():
            return TensorBoardSink(folder or home() / "tensorboard")
        case WandbSpec():
            return WandbSink(folder or home() / "wandb", project=spec.project, entity=spec.entity, mode=spec.mode)
