"""Types of the public names, for type checkers and editors; `__init__.py` imports them when they are used."""

from side4video.api.documents import load_experiment as load_experiment
from side4video.api.estimates import plan as plan
from side4video.api.preset_table import presets as presets
from side4video.api.stored_runs import runs as runs
from side4video.api.sweeping import SweepComparison as SweepComparison
from side4video.api.sweeping import sweep as sweep
from side4video.api.training import run as run
from side4video.core.allowed_plugins import allow_plugins as allow_plugins
from side4video.core.errors import InputError as InputError
from side4video.core.errors import Interrupted as Interrupted
from side4video.core.errors import Side4VideoError as Side4VideoError
from side4video.inference.model import Model as Model
from side4video.inference.prediction import Prediction as Prediction
from side4video.inference.retrieval import FoundVideo as FoundVideo
from side4video.inference.retrieval import RetrievalModel as RetrievalModel
from side4video.inference.sliding_window import StreamPrediction as StreamPrediction
from side4video.inference.trained_model import load as load
from side4video.planning.plan import ExperimentPlan as ExperimentPlan
from side4video.runs.run_result import RunResult as RunResult
from side4video.spec.experiment import Experiment as Experiment

__version__: str
__all__ = [
    "Experiment",
    "ExperimentPlan",
    "FoundVideo",
    "InputError",
    "Interrupted",
    "Model",
    "Prediction",
    "RetrievalModel",
    "RunResult",
    "Side4VideoError",
    "StreamPrediction",
    "SweepComparison",
    "allow_plugins",
    "load",
    "load_experiment",
    "plan",
    "presets",
    "run",
    "runs",
    "sweep",
]
