"""Every dataset document lists the fields that name files or folders, so that jobs can check and upload them."""

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from side4video.core.field_descriptions import field_descriptions
from side4video.core.spec import PathText, Spec
from side4video.data.datasets import Dataset
from side4video.data.features import CachedFeaturesSpec
from side4video.models.backbones.weights import FileWeights

KINDS: dict[str, type[Spec]] = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(Dataset)[0])}
LABELLED = {"annotations", "root", "test_root", "only_classes"}
CAPTIONED = {"annotations", "root"}
PATHS = {
    "list": {"annotations", "root", "class_names.path", "split_by.test_annotations", "split_by.val_annotations"},
    "folder": {"root"},
    "kinetics": LABELLED,
    "something-something-v1": LABELLED,
    "something-something-v2": LABELLED,
    "ucf101": LABELLED,
    "hmdb51": LABELLED,
    "diving48": LABELLED,
    "jester": LABELLED,
    "moments-in-time": LABELLED,
    "coin": LABELLED,
    "motion": set(),
    "captions": {*CAPTIONED, "split_by.test_annotations", "split_by.val_annotations"},
    "msr-vtt": CAPTIONED,
    "msvd": CAPTIONED,
    "vatex": CAPTIONED,
    "didemo": CAPTIONED,
    "lsmdc": CAPTIONED,
    "activitynet-captions": CAPTIONED,
    "charades": CAPTIONED,
    "epic-kitchens": CAPTIONED,
    "packed": {"root"},
    "webdataset": {"root", "class_names"},
    "hugging-face": {"root", "videos_root"},
}
SECTIONS: dict[str, dict[str, Any]] = {
    "list": {
        "class_names": {"kind": "file", "path": "x"},
        "split_by": {"kind": "file", "test_annotations": "x"},
    },
    "captions": {"split_by": {"kind": "file", "test_annotations": "x"}},
}


def make(kind: type[Spec]) -> Spec:
    name = kind.model_fields["kind"].default
    required = {field: "x" for field, info in kind.model_fields.items() if info.is_required()}
    return kind.model_validate({**required, **SECTIONS.get(name, {})})


def documented_paths(spec: BaseModel, prefix: str = "") -> set[str]:
    """The fields whose description says that variables are expanded, as those of paths are."""
    found = set()
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, BaseModel):
            found |= documented_paths(value, f"{prefix}{name}.")
        elif "${NAME}" in field_descriptions(type(spec)).get(name, ""):
            found.add(f"{prefix}{name}")
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_data_set_lists_its_paths(name):
    assert set(make(KINDS[name]).paths()) == PATHS[name]


@pytest.mark.parametrize("spec", [*KINDS.values(), CachedFeaturesSpec, FileWeights])
def test_a_field_is_documented_as_a_path_if_it_is_one(spec):
    made = make(spec)
    assert set(made.paths()) == documented_paths(made)


def test_a_documented_path_that_is_not_declared_is_found():
    class Undeclared(Spec):
        kind: str = "undeclared"
        folder: str = ""
        """A folder; may contain `${NAME}`."""
        file: PathText = ""
        """A file; may contain `${NAME}`."""

    assert documented_paths(Undeclared()) - set(Undeclared().paths()) == {"folder"}


def test_paths_are_returned_as_written():
    assert make(KINDS["folder"]).paths("data.dataset.") == {"data.dataset.root": "x"}
