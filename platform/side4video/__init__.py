"""Side4Video: memory-frugal transfer of frozen image models to video.

A large frozen image tower (CLIP, EVA-CLIP) and a small trainable spatial-temporal side network, for action
recognition and text-video retrieval (Yao, Wu and Li, 2023, arXiv 2311.15769).

    run, sweep, plan          train an experiment, compare variants, estimate memory
    runs, presets             tables of the stored runs, and of the experiment files of the package
    load                      a trained model: `predict` and `stream`; of retrieval `search`
    load_experiment           read and check a document
    allow_plugins             allow files and modules with parts of one's own to be loaded

Importing this package takes no time: what has one of these names is imported when it is used.
"""

import sys
import warnings
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# By name: what lies below imports this package for its version, and would else import the top through it.
_PLACES = {
    "Experiment": "spec.experiment",
    "ExperimentPlan": "planning.plan",
    "FoundVideo": "inference.retrieval",
    "InputError": "core.errors",
    "Interrupted": "core.errors",
    "Model": "inference.model",
    "Prediction": "inference.prediction",
    "RetrievalModel": "inference.retrieval",
    "RunResult": "runs.run_result",
    "Side4VideoError": "core.errors",
    "StreamPrediction": "inference.sliding_window",
    "SweepComparison": "api.sweeping",
    "allow_plugins": "core.allowed_plugins",
    "load": "inference.trained_model",
    "load_experiment": "api.documents",
    "plan": "api.estimates",
    "presets": "api.preset_table",
    "run": "api.training",
    "runs": "api.stored_runs",
    "sweep": "api.sweeping",
}
"""Public names, and the module of each. `__init__.pyi` tells them to type checkers and editors."""
__all__ = sorted(_PLACES)  # pyright: ignore[reportUnsupportedDunderAll]  # the stub has them one by one


def __getattr__(name: str) -> object:
    """A public name, imported when it is asked for: a document is checked without torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "IPython" in sys.modules:  # libraries below import tqdm, whose warning tells nothing here
        warnings.filterwarnings("ignore", message="IProgress not found")
    value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package. `side4video.run` and `side4video.runs` stay functions when the modules of these names are imported.

    Python binds an imported module in its package. Import from these two by `from side4video.run import ...`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PLACES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
