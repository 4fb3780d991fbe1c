"""Weights to start from: an exported or imported folder."""

from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText, Spec

ALLOWED = "a folder that `side4video export` or `side4video import` wrote"
FIX = "name such a folder; of a run: side4video export RUN FOLDER"
_NO_SIZES = {"kind", "preset", "size", "recompute", "dropout", "drop_path"}
"""Fields of methods that change no tensor of theirs."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from side4video.spec.bundle import Bundle
    from side4video.spec.experiment import Experiment


class StartSpec(Spec):
    """The weights of a folder that `side4video export` or `side4video import` wrote.

    Method, backbone and task must be those of the folder; data and optimization may differ.
    """

    folder: PathText
    """A folder that `side4video export` or `side4video import` wrote. A relative path starts at the folder that the
    command runs in."""
    trains: bool = True
    """`false`: a fixed arm. It is not trained, and is evaluated beside the others."""

    def read(self, experiment: "Experiment") -> "tuple[Path, Bundle]":
        """The folder and its description, after a check that its document fits.

        Raises:
            InputError: It is no exported folder, a file was changed, or its method, backbone or task is another one.
        """
        from side4video.spec.bundle import read_bundle

        folder = self._place()
        try:
            bundle, document = read_bundle(folder)
        except InputError as error:
            where = "start.folder" if error.where == str(folder) else f"start.folder: {error.where}"
            raise InputError(where, error.found, allowed=error.allowed, fix=FIX) from error
        for section in ("method", "backbone", "task"):
            own, theirs = (getattr(each, section) for each in (experiment, document))
            if own.kind != theirs.kind:
                raise InputError(
                    "start.folder",
                    f"{folder} has {section} {theirs.kind}, and this experiment {own.kind}",
                    allowed=f"a folder whose {section} is {own.kind}",
                    fix=f"take the {section} of {folder}/spec.json",
                )
        for name, own, theirs in _sizes(experiment, document):
            if own != theirs:
                raise InputError(
                    "start.folder",
                    f"{folder} has {name} {theirs}, and this experiment {own}",
                    allowed="the method, backbone and task of the folder",
                    fix=f"take {name} of {folder}/spec.json",
                )
        return folder, bundle

    def identity(self) -> str:
        """SHA-256 (hexadecimal) of the weights, as the folder says it; the weights are not read.

        Raises:
            InputError: There is no such folder.
        """
        from side4video.spec.bundle import read_checksums

        return read_checksums(self._place())["weights.safetensors"]

    def _place(self) -> "Path":
        """The folder.

        Raises:
            InputError: There is none.
        """
        from pathlib import Path

        folder = Path(expand(self.folder, "start.folder"))
        if not self.folder or not folder.is_dir():
            found = f"there is no folder {folder}" if self.folder else "empty"
            raise InputError("start.folder", found, allowed=ALLOWED, fix=FIX)
        return folder


def _sizes(experiment: "Experiment", document: "Experiment") -> "Iterator[tuple[str, Any, Any]]":
    """What decides names and shapes of the weights: each with its values in the experiment and in the folder."""
    own, theirs = (each.method.model_dump(mode="json", exclude=_NO_SIZES) for each in (experiment, document))
    for name in own:
        yield f"method.{name}", own[name], theirs.get(name)
    own, theirs = (each.tower.identity() for each in (experiment, document))
    for name in own:
        yield f"backbone.{name}", own[name], theirs.get(name)
    classifiers = [each.task.classifier for each in (experiment, document) if each.task.kind == "recognition"]
    if len(classifiers) == 2:
        own, theirs = (each.model_dump(mode="json", exclude={"trains_scale"}) for each in classifiers)
        for name in own:
            yield f"task.classifier.{name}", own[name], theirs.get(name)
