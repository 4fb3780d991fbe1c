"""Weights to start from: an exported or imported folder."""

from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText, Spec

if TYPE_CHECKING:
    from pathlib import Path

    from side4video.spec.bundle import Bundle
    from side4video.spec.experiment import Experiment


class StartSpec(Spec):
    """The weights of a folder that `side4video export` or `side4video import` wrote.

    Method, backbone and task must be those of the folder; data and optimization may differ.
    """

    folder: PathText
    """The folder."""
    trains: bool = True
    """`false`: a fixed arm. It is not trained, and is evaluated beside the others."""

    def read(self, experiment: "Experiment") -> "tuple[Path, Bundle]":
        """The folder and its description, after a check that its document fits.

        Raises:
            InputError: It is no exported folder, a file was changed, or its method, backbone or task is another one.
        """
        from pathlib import Path

        from side4video.spec.bundle import read_bundle

        folder = Path(expand(self.folder, "start.folder"))
        bundle, document = read_bundle(folder)
        for section in ("method", "backbone", "task"):
            own, theirs = (getattr(each, section) for each in (experiment, document))
            if own.kind != theirs.kind:
                raise InputError(
                    "start.folder",
                    f"{folder} has {section} {theirs.kind}, and this experiment {own.kind}",
                    allowed=f"a folder whose {section} is {own.kind}",
                    fix=f"take the {section} of {folder}/spec.json",
                )
        return folder, bundle
