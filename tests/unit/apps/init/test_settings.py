"""Backbone, frames, precision, loader and batch for data and machines; weights that are here or can be had."""

from dataclasses import replace
from pathlib import Path

import pytest

from own_videos import CPU, GPU, WEIGHTS, class_folders, good, put, write_csv
from side4video.apps.init.division import divide
from side4video.apps.init.memory import fit_memory, usable_bytes
from side4video.apps.init.settings import Draft, machine_text, make_draft
from side4video.apps.init.source import find_data
from side4video.apps.init.video_sample import VideoFacts, look_at_videos
from side4video.apps.init.weights import choose_weights
from side4video.core.units import GIB
from side4video.models.towers.cached_weights import PretrainedFile
from side4video.spec.load import parse_experiment
from side4video.spec.machine import Gpu, Machine
from side4video.spec.optimization import OptimizationSpec
from tiny import DOCUMENT, merged

EMPTY = b""
OLD_GPU = Machine(8, 64 * GIB, (Gpu("an old GPU", 8 * GIB, has_bfloat16=False),))
FOUR_GPUS = Machine(32, 256 * GIB, 4 * GPU.gpus)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("clips"), {"jump": 40, "wave": 40}, content=EMPTY)


def draft_of(source, machine, opener=good):
    found = find_data(str(source))
    divided = divide(found, found.dataset)
    sample = look_at_videos(divided.all_clips, opener=opener)
    return make_draft("a", found, divided, sample=sample, machine=machine, weights=WEIGHTS)


@pytest.mark.parametrize(
    ("machine", "tower", "student", "workers"),
    [(CPU, "fp32", "fp32", 1), (GPU, "bf16", "bf16", 7), (OLD_GPU, "fp32", "fp16", 7), (FOUR_GPUS, "bf16", "bf16", 7)],
)
def test_precision_and_loader(folder, machine, tower, student, workers):
    document = draft_of(folder, machine).document
    assert document["backbone"]["precision"] == tower
    assert document["optimization"]["precision"] == student
    assert document["data"]["loader"]["workers"] == workers
    parse_experiment(document)


def test_one_core_decodes_in_the_process_of_training(folder):
    assert draft_of(folder, replace(CPU, cores=1)).document["data"]["loader"] == {"workers": 0}


def test_several_gpus_have_a_process_each_if_there_are_enough_videos(folder, tmp_path):
    assert draft_of(folder, FOUR_GPUS).document["cluster"] == {"workers": 4}
    few = draft_of(class_folders(tmp_path, {"jump": 4, "wave": 4}, content=EMPTY), FOUR_GPUS)
    assert "cluster" not in few.document
    assert "one of 4 GPUs" in few.notes[0]


@pytest.mark.parametrize(("count", "batch"), [(2, 1), (8, 2), (20, 4), (40, 8), (200, 32)])
def test_a_batch_is_a_part_of_the_training_set(tmp_path, count, batch):
    root = class_folders(tmp_path, {"jump": count, "wave": count}, content=EMPTY)
    found = draft_of(root, GPU).document["optimization"]["batch_size"]
    assert found == batch
    assert found * 4 <= 1.6 * count or found == 1


@pytest.mark.parametrize(
    ("count", "length"),
    [(8, {"epochs": 17}), (40, {"epochs": 15}), (200, {"epochs": 13}), (249, {"epochs": 10}), (250, None)],
)
def test_few_clips_are_trained_for_few_epochs(tmp_path, count, length):
    root = class_folders(tmp_path, {"jump": count, "wave": count}, content=EMPTY)
    draft = draft_of(root, GPU)
    assert draft.document["optimization"].get("length") == length
    assert ("epochs as in the paper" in draft.comments["optimization"][0].replace(" and", "")) == (length is None)
    for epochs in (4, 1, 0.1):
        for override in ({"epochs": epochs}, {"steps": 3}):
            OptimizationSpec.model_validate(draft.document["optimization"] | {"length": override})


@pytest.mark.parametrize(
    ("seconds", "machine", "frames"), [(0.2, GPU, 4), (2.0, GPU, 8), (60.0, GPU, 16), (60.0, CPU, 8)]
)
def test_frames_by_the_length_of_videos(folder, seconds, machine, frames):
    def opener(paths, limit):
        yield from ((path, VideoFacts(64, 48, 25.0, seconds)) for path in paths)

    assert draft_of(folder, machine, opener).document["data"]["frames"] == frames


def test_broken_videos_are_skipped_up_to_a_share_above_what_was_seen(folder):
    def opener(paths, limit):
        yield from ((path, VideoFacts(64, 48, 25.0, 2.0, "" if n % 8 else "cut")) for n, path in enumerate(paths))

    assert "broken_clips" not in draft_of(folder, CPU).document["data"]
    broken = draft_of(folder, CPU, opener).document["data"]["broken_clips"]
    assert broken["kind"] == "skip"
    assert broken["cap"] > 1 / 8


def test_missing_videos_of_a_list_are_skipped(tmp_path):
    rows = [[put(tmp_path / f"{n}.mp4", EMPTY).name, ("jump", "wave")[n % 2]] for n in range(12)]
    (tmp_path / "5.mp4").unlink()
    draft = draft_of(write_csv(tmp_path / "a.csv", [["path", "label"], *rows]), CPU)
    assert draft.document["data"]["broken_clips"]["cap"] > 1 / 12


def test_left_and_right_are_not_mirrored(tmp_path):
    draft = draft_of(class_folders(tmp_path, {"turn left": 3, "wave": 3}, content=EMPTY), CPU)
    assert draft.document["data"]["augmentation"] == {"flip_probability": 0.0}


def test_retrieval(tmp_path):
    rows = [[put(tmp_path / f"{n}.mp4", EMPTY).name, f"text {n}"] for n in range(60)]
    document = draft_of(write_csv(tmp_path / "a.csv", [["path", "caption"], *rows]), GPU).document
    assert document["task"] == {"kind": "retrieval"}
    assert document["optimization"]["recipe"] == "retrieval"
    assert parse_experiment(document).data.frames == 12


def test_a_machine_in_words():
    assert machine_text(CPU) == "no GPU, 2 cores, 16.0 GiB of memory"
    assert machine_text(FOUR_GPUS) == "4 x a GPU with 24.0 GiB, 32 cores, 256.0 GiB of memory"


# ---- memory


def with_memory(gib, *, retrieval=False):
    return Machine(2, int(gib * GIB / 0.5))


def tiny_draft(**changes):
    return Draft(merged(DOCUMENT, changes))


def test_what_fits_stays_whole():
    draft = tiny_draft()
    plan = fit_memory(draft, CPU, classes=4, is_batch_given=False)
    assert "accumulation" not in draft.document["optimization"]
    assert plan.reserved_memory_gib * GIB < usable_bytes(CPU)
    assert not draft.notes


def test_what_does_not_fit_is_divided_until_it_does():
    draft = tiny_draft()
    whole = fit_memory(tiny_draft(), CPU, classes=4, is_batch_given=True).reserved_memory_gib
    small = tiny_draft(optimization={"accumulation": 4})
    quarter = fit_memory(small, CPU, classes=4, is_batch_given=True).reserved_memory_gib
    assert quarter < whole
    between = with_memory((quarter + whole) / 2)
    plan = fit_memory(draft, between, classes=4, is_batch_given=False)
    assert plan.reserved_memory_gib * GIB <= usable_bytes(between)
    assert draft.document["optimization"]["accumulation"] in (2, 4)
    assert draft.document["optimization"]["batch_size"] == 8


def test_what_never_fits_is_told():
    draft = tiny_draft()
    fit_memory(draft, with_memory(0.001), classes=4, is_batch_given=False)
    assert "does not fit into this machine" in draft.notes[0]
    assert draft.document["optimization"]["accumulation"] == 8


def test_a_batch_that_the_user_chose_stays():
    draft = tiny_draft()
    fit_memory(draft, with_memory(0.001), classes=4, is_batch_given=True)
    assert "accumulation" not in draft.document["optimization"]


def test_memory_of_a_gpu_counts_where_there_is_one():
    assert usable_bytes(GPU) == int(0.9 * 24 * GIB) - GIB // 2
    assert usable_bytes(CPU) == 8 * GIB


# ---- weights


def cache(*there):
    def find(model, tag):
        path = Path("model.safetensors") if (model, tag) in there else None
        return PretrainedFile(model, tag, f"timm/{model}", path)

    return find


B16, B32 = ("ViT-B-16-quickgelu", "openai"), ("ViT-B-32-quickgelu", "openai")


@pytest.mark.parametrize(
    ("machine", "there", "has_network", "chosen", "is_here"),
    [
        (GPU, (B16,), False, B16, True),
        (GPU, (), True, B16, False),
        (GPU, (B32,), True, B16, False),
        (GPU, (B32,), False, B32, True),
        (GPU, (), False, B16, False),
        (CPU, (B16,), False, B16, True),
        (CPU, (B16, B32), False, B32, True),
        (CPU, (), True, B32, False),
    ],
)
def test_weights_that_are_here_or_can_be_had(machine, there, has_network, chosen, is_here):
    found = choose_weights(machine, find=cache(*there), can_reach=lambda seconds: has_network)
    assert (found.model, found.tag) == chosen
    assert found.is_here == is_here
    if not is_here and not has_network:
        assert found.get_command == f"hf download timm/{chosen[0]}"
        assert found.get_command in found.text
        assert "HF_HOME" in found.text
    else:
        assert found.get_command == ""


def test_the_hub_is_not_asked_for_weights_that_are_here():
    def refuse(seconds):
        raise AssertionError("asked")

    assert choose_weights(GPU, find=cache(B16), can_reach=refuse).is_here
    with pytest.raises(AssertionError, match="asked"):
        choose_weights(GPU, find=cache(B32), can_reach=refuse)
