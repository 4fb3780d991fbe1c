"""The files that are uploaded with a job: its documents and the small files that they name.

A job runs in its own folder, so that a relative path is valid there only if its file is uploaded.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from side4video.core.allowed_plugins import is_file_source
from side4video.core.errors import InputError
from side4video.core.units import MIB, format_bytes
from side4video.data.storage import is_relative
from side4video.spec.experiment import Experiment
from side4video.spec.presets import base_file, spec_file

LIMIT_MEBIBYTES = 50
"""Default limit of the upload; Ray keeps it in the memory of the head node."""
_MAX_NAMED = 3
"""Number of files that the error names."""


@dataclass(frozen=True)
class JobFiles:
    """The files of a job."""

    document: str
    """Path of the spec or sweep in the job's folder."""
    sources: Mapping[str, Path]
    """Local path of each file, by its path in the job's folder."""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {name: path.stat().st_size for name, path in self.sources.items()}

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    @property
    def digest(self) -> str:
        """Hash of the names and the contents."""
        whole = hashlib.sha256()
        for name, path in sorted(self.sources.items()):
            whole.update(f"{name}\0{path.stat().st_size}\0".encode())
            whole.update(path.read_bytes())
        return whole.hexdigest()

    def copy_into(self, folder: Path) -> None:
        """Copy the files into a folder, as the job finds them."""
        for name, path in self.sources.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def collect_files(
    document: str, base: str | None, experiments: Iterable[Experiment], *, limit_mebibytes: float = LIMIT_MEBIBYTES
) -> JobFiles:
    """The document, the base that a sweep names, and relative files that experiments name.

    `document` is a file or the name of a preset. `base` is the base as the sweep writes it: a path relative to the
    sweep's own file, or the name of a preset. A base that is a preset is sent too, so that the job reads the document
    that was checked here; it lies where the name, read as a path, finds it.

    Raises:
        InputError: If a path means nothing on another machine, or the files are too large.
    """
    documents = [Path(os.path.abspath(spec_file(document)))]  # noqa: PTH100 - resolve() would follow links away from the base
    if base is not None:
        if Path(base).is_absolute():
            raise InputError(
                f"{document}: base",
                f"{base} is a file of this machine",
                allowed="a path relative to the sweep's own file",
                fix=f"write base: {os.path.relpath(base, documents[0].parent)}",
            )
        documents.append(Path(os.path.normpath(documents[0].parent / base)))
    sources = _job_paths(documents)
    if base is not None and not documents[1].is_file():
        sources = {
            name: base_file(documents[0], base) if path == documents[1] else path for name, path in sources.items()
        }
    document_inside = next(name for name, path in sources.items() if path == documents[0])
    for experiment in experiments:
        sources.update(_named_files(experiment))
    files = JobFiles(document_inside, sources)
    _check_size(files, limit_mebibytes)
    return files


def _job_paths(documents: list[Path]) -> dict[str, Path]:
    """Documents keep their places relative to the folder that the command runs in, or at least to each other."""
    here = Path.cwd()
    if all(path.is_relative_to(here) for path in documents):
        return {path.relative_to(here).as_posix(): path for path in documents}
    above = Path(os.path.commonpath([path.parent for path in documents]))
    return {f"documents/{path.relative_to(above).as_posix()}": path for path in documents}


def _named_files(experiment: Experiment) -> dict[str, Path]:
    """The files that an experiment names by relative paths, by their path in the job's folder."""
    paths = experiment.paths()
    found = {}
    for file in plugin_files(experiment):
        if not is_relative(file):
            continue
        if ".." in Path(file).parts:
            _refuse_relative("plugins", file)
        found[Path(file).as_posix()] = Path(os.path.abspath(file))  # noqa: PTH100 - as above
    for field, text in paths.items():
        if not text or not is_relative(text):
            continue
        if not Path(text).is_file() or ".." in Path(text).parts:
            _refuse_relative(field, text)
        found[Path(text).as_posix()] = Path(os.path.abspath(text))  # noqa: PTH100 - as above
        # The list is uploaded, but the videos beside it are not.
        if field == "data.dataset.annotations" and paths.get("data.dataset.root") == "":
            raise InputError(
                "data.dataset.root",
                f"empty: the videos are beside {text}, which goes to the cluster without them",
                allowed="a folder that the cluster's nodes share, or an address such as s3://bucket/clips",
                fix="set data.dataset.root",
            )
    return found


def plugin_files(experiment: Experiment) -> list[str]:
    """The plug-ins that are files, as the document names them."""
    return [each.source for each in experiment.plugins if is_file_source(each.source)]


def _refuse_relative(field: str, text: str) -> None:
    raise InputError(
        field,
        f"{text} is relative to this folder, and a job runs in one of its own",
        allowed="an absolute path, ${NAME}/..., or an address such as s3://bucket/clips; a file here may be relative",
        fix=f"--set {field}=/shared/{Path(text).name}",
    )


def _check_size(files: JobFiles, limit_mebibytes: float) -> None:
    if files.bytes <= limit_mebibytes * MIB:
        return
    largest = sorted(files.sizes.items(), key=lambda item: -item[1])[:_MAX_NAMED]
    raise InputError(
        "the job's files",
        f"{format_bytes(files.bytes)}, of them " + ", ".join(f"{name} {format_bytes(size)}" for name, size in largest),
        allowed=f"{limit_mebibytes:g} MiB",
        fix="put large files where the cluster's nodes find them and name them by an absolute path or an address; "
        f"or --limit-mebibytes {files.bytes // MIB + 1}",
    )
