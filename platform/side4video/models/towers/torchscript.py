"""Read the tensors of a TorchScript archive, such as OpenAI's own `ViT-B-16.pt`, without running it.

`torch.jit.load` runs code of the archive, and torch's weights-only reader refuses archives. An archive is a zip file
with a pickle of modules and tensors, and the tensors' bytes. Here an unpickler that accepts five harmless names reads
the pickle; the archive's code is not read.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_STORAGE_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Module:
    """Replaces every class of an archive; has its fields and no code."""

    fields: dict[str, Any]

    def __setstate__(self, fields: object) -> None:
        self.fields = fields if isinstance(fields, dict) else {}


def _as_list(values: list[Any]) -> list[Any]:
    return list(values)


def _as_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


class _ArchiveUnpickler(pickle.Unpickler):
    """Creates tensors and modules without code; every other name is an error."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}data.pkl"))
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "__torch__" or module_name.startswith("__torch__."):
            return _Module
        if module_name == "torch" and global_name in _STORAGE_TYPES:
            return _STORAGE_TYPES[global_name]
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _as_tensor
        if module_name == "torch.jit._pickle" and global_name.startswith("build_"):
            return _as_list
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"the archive names {module_name}.{global_name}, which no tensor needs")

    def persistent_load(self, pid: Any, /) -> Tensor:
        _, dtype, key, *_ = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def is_torchscript(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any("/code/" in name for name in names) and any(name.endswith("/constants.pkl") for name in names)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of an archive's modules, by dotted name.

    Raises:
        pickle.UnpicklingError: The archive refers to something that is neither a module nor a tensor.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        module = _ArchiveUnpickler(archive, root).load()
    tensors: dict[str, Tensor] = {}
    _collect(module, "", tensors)
    return tensors


def _collect(module: object, prefix: str, into: dict[str, Tensor]) -> None:
    for name, value in getattr(module, "fields", {}).items():
        if isinstance(value, Tensor):
            into[f"{prefix}{name}"] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", into)
