"""What is listed stays listed when it is not there, in every data set that has a policy for gaps."""

from typing import get_args

import pytest

from caption_files import EXTENSIONS, FORMS, TEST, TRAIN, make
from side4video.apps.data_check.listing import POLICIES, list_clips
from side4video.core.errors import InputError
from side4video.data.annotations.missing_files import KeepSpec, RaiseSpec, SkipSpec
from side4video.data.datasets import Dataset

MEMBERS = get_args(get_args(Dataset)[0])


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_there_is_listed(tmp_path, form, policy):
    dataset = make(form, tmp_path, missing_videos={"kind": policy})
    whole = list_clips(dataset)
    assert {split: len(clips) for split, clips in whole.splits.items()} == {"train": len(TRAIN), "test": len(TEST)}
    assert whole.errors == {}
    assert whole.fingerprint == dataset.fingerprint()
    (tmp_path / f"{next(iter(TRAIN))}{EXTENSIONS.get(form.partition('.')[0], '.mp4')}").unlink()
    listing = list_clips(dataset)
    assert listing.splits == whole.splits
    assert list(listing.errors) == (["train"] if policy == "raise" else [])
    assert (listing.fingerprint == "") == (policy == "raise")


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.model_fields["kind"].default)
def test_every_policy_for_gaps_is_known_here(member):
    """The walk puts a policy of its own in the place of each; one that it does not know would hide gaps."""
    found = {name for name, field in member.model_fields.items() if isinstance(field.default, RaiseSpec | SkipSpec)}
    assert found <= set(POLICIES)


def test_no_document_can_keep_gaps(tmp_path):
    with pytest.raises(ValueError, match="keep"):
        make(FORMS[0], tmp_path, missing_videos=KeepSpec().model_dump())


def test_a_list_that_is_gone_is_the_same_line_as_everywhere(tmp_path):
    dataset = make("msr-vtt", tmp_path)
    for file in tmp_path.glob("MSRVTT*"):
        file.unlink()
    with pytest.raises(InputError) as caught:
        list_clips(dataset)
    with pytest.raises(InputError) as expected:
        dataset.check()
    assert str(caught.value) == str(expected.value)
