"""The protocol of an experiment: the settings that decide how a result was measured.

Only results of the same protocol can be compared in one table.

The protocol contains:

- the frames of a test clip: `data.frames`, `data.sampling`, `data.views.clips`;
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from side4video.core.dotted import below, is_at_or_below
from side4video.core.errors import InputError
from side4video.core.plugin import plugin_metrics
from side4video.data.decode.augmentation import RelativeResizeSpec

DATASET = "data.dataset"
"""Field for the fingerprint of a run's data set."""
VIDEOS = "eval/videos"
"""Metric with the number of test videos that could be read."""
NOT_RECORDED = "not recorded"

_SECTIONS = ("task", "data", "evaluation")
_RESIZE, _SAMPLING = "data.augmentation.resize", "data.sampling"
_CHOOSE_EPOCH = "evaluation.choose_epoch"
_TRANSFORMS, _PLUGINS = "data.augmentation.transforms", "plugins"
_BEFORE_THERE_WAS_A_CHOICE = {
    _CHOOSE_EPOCH: "auto",
    "data.class_sampling": "natural",
    "data.classes": "all",
    "data.shots": "null",
    "data.first_epoch": "0",
    "task.class_weights": "none",
}
"""Fields that older documents lack, and what they then mean."""
_FIRST_EPOCH = "data.first_epoch"
_REPORTED_ONLY = frozenset({"data.seed", _CHOOSE_EPOCH, _FIRST_EPOCH})
_EXCLUDED = (
    DATASET,  # two documents may mean the same clips: the fingerprint knows
    "data.recipe",
    "data.sampling",  # comes back as what it does in test
    "data.augmentation",  # so does its resize
    "data.repeated_sampling",
    "data.decoder",
    "data.neighbours",  # what a method reads beside the frames is the method's
    "data.descriptions",
    "data.broken_clips",  # what it left out is in the number of videos
    "data.loader",
    "task.label_smoothing",
    "task.dropout",
    "task.classifier",
    "task.matching",
    "task.text",
    "task.largest_logit_scale",
    "task.loss",
    "task.gamma_positive",
    "task.gamma_negative",
    "task.clip",
    "task.rescoring",  # the names of rescored metrics say it
    "evaluation.batch_size",
    "evaluation.every_epochs",
    "evaluation.early_stopping",
)
_MAX_LABELS = 3
"""Maximum number of arms that a message names for each value."""


@dataclass(frozen=True)
class ComparedResult:
    """A result to be compared in a table."""

    label: str
    fields: Mapping[str, str]
    """Its document, flattened by `core.dotted`. MLflow stores the same as parameters."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """Values that its run recorded: `DATASET`, `VIDEOS`."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Values in the columns of the table, by dotted name."""


@dataclass(frozen=True)
class Difference:
    """A field whose value differs between results."""

    field: str
    """Its dotted name."""
    values: Mapping[str, tuple[str, ...]]
    """Each value, with the labels of the results that have it."""
    is_shown: bool
    """Whether the columns of the table show the difference."""

    @property
    def is_hidden(self) -> bool:
        """Whether the table does not show a difference that matters."""
        return not self.is_shown and self.field not in _REPORTED_ONLY

    def __str__(self) -> str:
        """`8 in a, b; 16 in c`."""
        return "; ".join(f"{value} in {_join_labels(labels)}" for value, labels in self.values.items())


def protocol(fields: Mapping[str, str], *, metrics: Collection[str] = ()) -> dict[str, str]:
    """The fields of a document that belong to the protocol, by dotted name.

    `fields` is the document as `core.dotted` writes it, presets resolved. `metrics` are compared; some are made with
    fields that others do not depend on.
    """
    settings = {name: text for name, text in fields.items() if _is_in_protocol(name)}
    for name, default in _BEFORE_THERE_WAS_A_CHOICE.items():
        if settings.get(name) == default:
            del settings[name]
    if f"{_SAMPLING}.kind" in fields:
        settings[_SAMPLING] = _sampling(fields)
    if f"{_RESIZE}.kind" in fields:
        settings[_RESIZE] = _resize(fields)
    if '"in_evaluation": true' in fields.get(_TRANSFORMS, ""):
        settings[_TRANSFORMS] = fields[_TRANSFORMS]
    if fields.get(_PLUGINS, "[]") != "[]" and any(each.rpartition("/")[2] in plugin_metrics() for each in metrics):
        settings[_PLUGINS] = fields[_PLUGINS]  # a metric of one name may be computed in two ways
    for metric in metrics:
        if metric.rsplit("/", 1)[-1] == "loss":
            settings |= below(fields, "task.label_smoothing")
            if fields.get("task.kind") == "multi-label":
                for name in ("task.loss", "task.gamma_positive", "task.gamma_negative", "task.clip"):
                    settings |= below(fields, name)
        if metric.endswith(("_dual_softmax", "_querybank")):
            settings |= below(fields, "task.rescoring")
    return settings


def find_differences(compared: Sequence[ComparedResult], *, metrics: Collection[str] = ()) -> list[Difference]:
    """The fields of the protocol that differ.

    Differences that follow from another one are left out: fields of a task if the tasks differ; a frame size that is
    relative to `data.size`; the number of videos if the data sets differ.
    """
    protocols = [{**protocol(each.fields, metrics=metrics), **each.recorded} for each in compared]
    names = dict.fromkeys(name for each in protocols for name in each)
    values = {name: [each.get(name, NOT_RECORDED) for each in protocols] for name in names}
    differing = [name for name, column in values.items() if len(set(column)) > 1]
    independent = [name for name in differing if not _is_implied(name, values, compared)]
    return [_make_difference(name, values[name], compared) for name in independent]


def find_dataset_differences(compared: Sequence[ComparedResult]) -> list[Difference]:
    """The fields of `data.dataset` that differ."""
    documents = [below(each.fields, DATASET) for each in compared]
    names = dict.fromkeys(name for document in documents for name in document)
    columns = {name: [document.get(name, "none") for document in documents] for name in names}
    return [_make_difference(name, column, compared) for name, column in columns.items() if len(set(column)) > 1]


def comparison_errors(
    found: Iterable[Difference], *, where: str, anyway: Collection[str], fix: Callable[[Difference], str]
) -> list[InputError]:
    """An error for each difference that the table does not show and that is not allowed.

    `where` is the document, or the table, for the errors; `anyway` are fields that somebody wants compared although
    they differ; `fix` says what to do about one.
    """
    return [
        InputError(
            f"{where}: {each.field}",
            f"{each}: figures that answer different questions",
            allowed="one value in a table, or a column that tells them apart",
            fix=fix(each),
        )
        for each in found
        if each.is_hidden and each.field not in anyway
    ]


def describe_differences(found: Iterable[Difference]) -> list[str]:
    """Sentences about the differences, for the text above a table."""
    sentences = []
    for each in found:
        if each.field == _FIRST_EPOCH:
            seen = sum(len(labels) for value, labels in each.values.items() if value not in ("0", NOT_RECORDED))
            sentences.append(
                f"{seen} arms joined a pass that was running: they saw the clips in the order of its later epochs "
                f"({_FIRST_EPOCH} of each run)."
            )
        elif each.is_shown:
            sentences.append(
                f"Arms differ in {each.field}, as the columns say: their figures answer different questions."
            )
        elif each.is_hidden:
            sentences.append(f"Compared although {each.field} differs: {each}. The figures answer different questions.")
        else:
            sentences.append(f"{each.field} differs: {each}.")
    return sentences


def _is_in_protocol(name: str) -> bool:
    in_section = any(is_at_or_below(name, section) for section in _SECTIONS)
    return in_section and not any(is_at_or_below(name, path) for path in _EXCLUDED)


def _sampling(fields: Mapping[str, str]) -> str:
    """The frames in evaluation. `centre` differs from `segment` only in training."""
    kind = fields[f"{_SAMPLING}.kind"]
    if kind in ("segment", "centre"):
        return "segment or centre"
    others = {name: text for name, text in below(fields, _SAMPLING).items() if name != f"{_SAMPLING}.kind"}
    return ", ".join([kind, *(f"{name.removeprefix(f'{_SAMPLING}.')} {text}" for name, text in others.items())])


def _resize(fields: Mapping[str, str]) -> str:
    """The frame size before the test crop. For example, 8/7 of 224 pixels equals 256 pixels."""
    resize = {name.removeprefix(f"{_RESIZE}."): text for name, text in below(fields, _RESIZE).items()}
    if resize["kind"] == "relative":
        ratio, size = float(resize.get("ratio", "nan")), fields.get("data.size", "")
        if ratio >= 1 and size.isdecimal():
            return f"short side {RelativeResizeSpec(ratio=ratio).short_side(int(size))}"
    if resize["kind"] == "short-side":
        return f"short side {resize.get('pixels', NOT_RECORDED)}"
    return " ".join([resize.pop("kind"), *(f"{name} {text}" for name, text in resize.items())])


def _is_implied(name: str, values: Mapping[str, Sequence[str]], compared: Sequence[ComparedResult]) -> bool:
    if name == _RESIZE:
        return len({tuple(below(each.fields, _RESIZE).items()) for each in compared}) == 1
    if name == VIDEOS and DATASET in values:
        return len(set(zip(values[DATASET], values[VIDEOS], strict=True))) == len(set(values[DATASET]))
    return name != "task.kind" and is_at_or_below(name, "task") and len(set(values.get("task.kind", ()))) > 1


def _make_difference(name: str, column: Sequence[str], compared: Sequence[ComparedResult]) -> Difference:
    labels: dict[str, dict[str, None]] = {}
    for each, value in zip(compared, column, strict=True):
        labels.setdefault(value, {})[each.label] = None
    return Difference(name, {value: tuple(each) for value, each in labels.items()}, _is_shown(name, column, compared))


def _is_shown(name: str, column: Sequence[str], compared: Sequence[ComparedResult]) -> bool:
    """Whether the columns for a field, or for a section above or below it, distinguish its values."""
    paths = dict.fromkeys(path for each in compared for path in each.shown)
    about = [path for path in paths if is_at_or_below(path, name) or is_at_or_below(name, path)]
    values_by_columns: dict[tuple[str, ...], set[str]] = {}
    for each, value in zip(compared, column, strict=True):
        values_by_columns.setdefault(tuple(each.shown.get(path, "") for path in about), set()).add(value)
    return all(len(values) == 1 for values in values_by_columns.values())


def _join_labels(labels: Sequence[str]) -> str:
    more = len(labels) - _MAX_LABELS
    return ", ".join(labels[:_MAX_LABELS]) + (f" and {more} more" if more > 0 else "")
