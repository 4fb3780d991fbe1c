"""The protocol of an experiment: the part of its document that decides what its figures mean.

Figures stand in one table if they answer one question, and the protocol is that question:

- which frames of a test clip are looked at: `data.frames`, `data.sampling`, `data.views.clips`;
- which pixels of them: `data.size`, `data.augmentation.resize` (the frame before the test crop), `data.views.crops`;
- what is asked of them, and how it is computed: `task.kind`, `task.words`, `task.keep`, `evaluation.precision`;
- what the compared metric itself is made with: `task.label_smoothing` for a loss, `task.rescoring` for a rescored one;
- which clips they are: the fingerprint of the data set, and how many videos were read. A run records both.

How the model came about is what a table compares, and is none of it: backbone and weights, method, optimisation,
training augmentation, the model's seed. Nor is what gives the same frames (decoder, loader, the name of a recipe) or
the same scores (`evaluation.batch_size`). `evaluation.every_epochs` says which epochs are measured, not how.

`data.train_fraction` says what was learnt from. That may be what a table is about (accuracy against training data), and
then a column says so; two figures that differ in it unsaid do not compare methods, so it counts like the rest.
`data.seed` is a repetition, as the model's seed is: a difference is told and never refused.

Whatever else the sections `task`, `data` and `evaluation` come to hold counts until it is named here as what does not.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from side4video.core.dotted import below, is_at_or_below
from side4video.core.errors import InputError
from side4video.data.decode.augmentation import RelativeResizeSpec

DATASET = "data.dataset"
"""The field under which a run's fingerprint of its data is compared."""
VIDEOS = "eval/videos"
"""The metric under which a run says how many test videos it could read."""
NOT_RECORDED = "not recorded"

_SECTIONS = ("task", "data", "evaluation")
_RESIZE, _SAMPLING = "data.augmentation.resize", "data.sampling"
_REPORTED_ONLY = frozenset({"data.seed"})
_EXCLUDED = (
    DATASET,  # two documents may mean the same clips: the fingerprint knows
    "data.recipe",
    "data.sampling",  # comes back as what it does in test
    "data.augmentation",  # so does its resize
    "data.repeated_sampling",
    "data.decoder",
    "data.broken_clips",  # what it left out is in the number of videos
    "data.loader",
    "task.label_smoothing",
    "task.dropout",
    "task.classifier",
    "task.matching",
    "task.text",
    "task.largest_logit_scale",
    "task.rescoring",  # the names of rescored metrics say it
    "evaluation.batch_size",
    "evaluation.every_epochs",
)
_MAX_LABELS = 3
"""Arms that a message names of each value."""


@dataclass(frozen=True)
class ComparedResult:
    """A result that is to stand in a table."""

    label: str
    fields: Mapping[str, str]
    """Its document as `core.dotted` writes it; MLflow's parameters are the same."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """What its run says beside the document: `DATASET`, `VIDEOS`."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """What the table's own columns say of it, by dotted name."""


@dataclass(frozen=True)
class Difference:
    """A field in which results differ."""

    field: str
    """Its dotted name."""
    values: Mapping[str, tuple[str, ...]]
    """Each value, with the labels of the results that have it."""
    is_shown: bool
    """Whether the table's columns tell them apart."""

    @property
    def is_hidden(self) -> bool:
        """Whether a reader of the table would not know, and would be misled."""
        return not self.is_shown and self.field not in _REPORTED_ONLY

    def __str__(self) -> str:
        """`8 in a, b; 16 in c`."""
        return "; ".join(f"{value} in {_join_labels(labels)}" for value, labels in self.values.items())


def protocol(fields: Mapping[str, str], *, metrics: Collection[str] = ()) -> dict[str, str]:
    """What of a document decides what its figures mean, by dotted name.

    Args:
        fields: The document as `core.dotted` writes it, presets resolved.
        metrics: Names of those that are compared; some are made with fields that others do not depend on.
    """
    kept = {name: text for name, text in fields.items() if _is_in_protocol(name)}
    if f"{_SAMPLING}.kind" in fields:
        kept[_SAMPLING] = _sampling(fields)
    if f"{_RESIZE}.kind" in fields:
        kept[_RESIZE] = _resize(fields)
    for metric in metrics:
        if metric.rsplit("/", 1)[-1] == "loss":
            kept |= below(fields, "task.label_smoothing")
        if metric.endswith(("_dual_softmax", "_querybank")):
            kept |= below(fields, "task.rescoring")
    return kept


def find_differences(compared: Sequence[ComparedResult], *, metrics: Collection[str] = ()) -> list[Difference]:
    """The protocol's fields that are not the same in all of these.

    What follows from another difference is not told beside it: the fields of a task, where tasks differ; a frame size
    before the crop that is relative to `data.size`; the number of videos of another data set.
    """
    protocols = [{**protocol(each.fields, metrics=metrics), **each.recorded} for each in compared]
    names = dict.fromkeys(name for each in protocols for name in each)
    values = {name: [each.get(name, NOT_RECORDED) for each in protocols] for name in names}
    differing = [name for name, column in values.items() if len(set(column)) > 1]
    own = [name for name in differing if not _is_implied(name, values, compared)]
    return [_make_difference(name, values[name], compared) for name in own]


def find_dataset_differences(compared: Sequence[ComparedResult]) -> list[Difference]:
    """The fields of `data.dataset` that are not the same in all of these documents."""
    documents = [below(each.fields, DATASET) for each in compared]
    names = dict.fromkeys(name for document in documents for name in document)
    columns = {name: [document.get(name, "none") for document in documents] for name in names}
    return [_make_difference(name, column, compared) for name, column in columns.items() if len(set(column)) > 1]


def comparison_errors(
    found: Iterable[Difference], *, where: str, anyway: Collection[str], fix: Callable[[Difference], str]
) -> list[InputError]:
    """An error for each difference that a reader would not know of and nobody asked for.

    Args:
        found: The differences.
        where: The document, or the table, for the errors.
        anyway: Fields that somebody wants compared although they differ.
        fix: What to do about one.
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
    """What a table says of differences that it holds."""
    told = []
    for each in found:
        if each.is_shown:
            told.append(f"Arms differ in {each.field}, as the columns say: their figures answer different questions.")
        elif each.is_hidden:
            told.append(f"Compared although {each.field} differs: {each}. The figures answer different questions.")
        else:
            told.append(f"{each.field} differs: {each}.")
    return told


def _is_in_protocol(name: str) -> bool:
    in_section = any(is_at_or_below(name, section) for section in _SECTIONS)
    return in_section and not any(is_at_or_below(name, path) for path in _EXCLUDED)


def _sampling(fields: Mapping[str, str]) -> str:
    """Which frames are looked at in test: `centre` differs from `segment` in training alone."""
    kind = fields[f"{_SAMPLING}.kind"]
    if kind in ("segment", "centre"):
        return "segment or centre"
    others = {name: text for name, text in below(fields, _SAMPLING).items() if name != f"{_SAMPLING}.kind"}
    return ", ".join([kind, *(f"{name.removeprefix(f'{_SAMPLING}.')} {text}" for name, text in others.items())])


def _resize(fields: Mapping[str, str]) -> str:
    """The size of a frame before the test crop: 8/7 of 224 pixels are 256 pixels."""
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
    """Whether the columns about a field, or about a section around or below it, tell its values apart."""
    paths = dict.fromkeys(path for each in compared for path in each.shown)
    about = [path for path in paths if is_at_or_below(path, name) or is_at_or_below(name, path)]
    told: dict[tuple[str, ...], set[str]] = {}
    for each, value in zip(compared, column, strict=True):
        told.setdefault(tuple(each.shown.get(path, "") for path in about), set()).add(value)
    return all(len(values) == 1 for values in told.values())


def _join_labels(labels: Sequence[str]) -> str:
    more = len(labels) - _MAX_LABELS
    return ", ".join(labels[:_MAX_LABELS]) + (f" and {more} more" if more > 0 else "")
