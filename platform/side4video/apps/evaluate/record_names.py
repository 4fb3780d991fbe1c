"""Under which name an evaluation is stored in its run."""

import re
from dataclasses import dataclass

from side4video.apps.evaluate.models import EvaluatedModel
from side4video.core.errors import InputError
from side4video.data.clip import Split
from side4video.data.selection import DIVIDER
from side4video.spec.experiment import Experiment

HALVES = ("base", "novel")
"""Names that tables take for the halves of the classes of one data set."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(/[A-Za-z0-9][A-Za-z0-9._-]{0,79})?")


@dataclass(frozen=True)
class RecordNaming:
    """From which the name of a stored evaluation is made."""

    asked: str = ""
    """The name that was asked for."""
    on: Experiment | None = None
    """The experiment whose data are evaluated on; None: the run's own data."""


def check_record_name(name: str) -> None:
    """Refuse a name that is no part of a metric's name.

    Raises:
        InputError: It has other characters than letters, digits, dot, dash and underscore, or more than one slash.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "--as",
            f"{name!r}",
            allowed="letters, digits, dot, dash and underscore; one slash before a part of a group: hmdb51/2",
            fix="choose another name",
        )


def record_name(model: EvaluatedModel, naming: RecordNaming, *, split: Split, fingerprint: str) -> str:
    """The name under which an evaluation is stored; empty if it is none on other data, and no name was asked for.

    `fingerprint` is that of the clips now.

    Raises:
        InputError: Tables would take the name for another half of the classes.
    """
    name = naming.asked or _usual_name(model, naming.on, split=split, fingerprint=fingerprint)
    if model.is_stored and name.partition("/")[0] in HALVES:
        _check_half(model, name, fingerprint)
    return name


def _usual_name(model: EvaluatedModel, on: Experiment | None, *, split: Split, fingerprint: str) -> str:
    """The name of the other experiment, or of the other half; then what is unusual: classes, split, mixed weights."""
    data = model.spec.data
    if on is not None:
        name = on.name if data.classes == on.data.classes else f"{on.name}-{data.classes}"
    elif data.classes != trained_half(model) and model.fingerprint not in ("", fingerprint):
        name = data.classes
    else:
        return ""
    if split != "test":
        name += f"-{split}"
    share = model.changes.trained_share
    return name if share == 1 else f"{name}-share-{share:g}"


def trained_half(model: EvaluatedModel) -> str:
    """The half of the classes that a model was trained on, or `all`."""
    return str(model.trained_on.get("selection", {}).get("classes", "all"))


def same_data_set(one: str, other: str) -> bool:
    """Whether two fingerprints are of one data set, whatever halves of its classes; also if one is not known."""
    return not one or not other or one.partition(DIVIDER)[0] == other.partition(DIVIDER)[0]


def _check_half(model: EvaluatedModel, name: str, fingerprint: str) -> None:
    half = name.partition("/")[0]
    is_half = model.spec.data.classes == half != trained_half(model)
    is_trained = model.changes.trained_share == 1
    if is_half and is_trained and same_data_set(model.fingerprint, fingerprint):
        return
    raise InputError(
        "--as",
        f"{name}, which tables take for the {half} classes of the run's data set"
        + ("" if is_trained else ", with the trained weights"),
        allowed=f"{half} with --set data.classes={half}, for a run that was not trained on these classes",
        fix="choose another name: --as NAME",
    )
