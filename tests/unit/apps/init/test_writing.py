"""The whole of `init`: what it writes is valid without an edit, nothing is overwritten, and it ends in seconds."""

import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from own_videos import CPU, SMALL, WEIGHTS, class_folders, good, put, write_csv
from side4video.apps.init import writing
from side4video.apps.init.video_sample import VideoFacts
from side4video.apps.init.writing import Request, experiment_name, init_experiment, next_steps
from side4video.core.errors import InputError
from side4video.spec.check_videos import check_experiments
from side4video.spec.load import load_experiment, read_yaml

EMPTY = b""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def clips(tmp_path):
    return class_folders(tmp_path / "my clips", {"jump": 10, "wave": 10})


def init(source, *settings, opener=good, **options):
    request = Request(str(source), overrides=(*SMALL, *settings), **options)
    return init_experiment(request, machine=CPU, weights=WEIGHTS, opener=opener)


def refusal(source, *settings, **options) -> str:
    with pytest.raises(InputError) as found:
        init(source, *settings, **options)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_what_is_written_is_valid(clips):
    new = init(clips)
    assert new.path == Path("my-clips.yaml")
    text = new.path.read_text(encoding="utf-8")
    assert read_yaml(text, "a file") == new.document
    experiment = load_experiment(new.path)
    said = check_experiments([("", experiment)])
    assert "20 clips, 2 classes, 14 train, 2 val, 4 test" in said
    assert experiment.name == "my-clips"
    assert new.clips == {"train": 14, "val": 2, "test": 4}
    assert "#   side4video run my-clips.yaml" in text


def test_weights_that_a_run_could_not_get_are_the_first_step(clips):
    command = "hf download timm/vit_base_patch32_clip_224.openai"
    away = replace(WEIGHTS, text="These weights are not on this machine.", is_here=False, get_command=command)
    request = Request(str(clips), overrides=("data.frames=1", "method={kind: linear}"))
    new = init_experiment(request, machine=CPU, weights=away, opener=good)
    assert [step.partition(" my-clips")[0] for step, _ in new.next_steps][:2] == [command, "side4video validate"]
    assert f"#   {command}\n" in new.path.read_text()
    here = init_experiment(replace(request, force=True), machine=CPU, weights=WEIGHTS, opener=good)
    assert here.next_steps == new.next_steps[1:]
    request = replace(request, overrides=SMALL, force=True)  # it names no pretrained weights
    assert init_experiment(request, machine=CPU, weights=away, opener=good).next_steps == here.next_steps


def test_with_true_videos_and_the_real_opener(clips):
    put(clips / "jump" / "broken.mp4", b"no video")
    new = init(clips, opener=None)
    assert list(new.broken) == [str(clips / "jump" / "broken.mp4")]
    assert any("broken.mp4" in note for note in new.notes)
    assert load_experiment(new.path).data.broken_clips.kind == "skip"
    assert dict(new.lines)["videos"] == ("64x48, 8 frames/s, 1.5 s; 21 of 21 were opened, 1 of them cannot be read")


def test_videos_that_all_are_broken(clips):
    for path in clips.rglob("*.mp4"):
        path.write_bytes(b"")
    assert "none of 20 videos that were opened can be read" in refusal(clips, opener=None)
    assert not list(Path.cwd().iterdir())


def test_a_file_is_not_overwritten(clips):
    Path("my-clips.yaml").write_text("mine: true\n")
    assert "it exists" in refusal(clips)
    assert Path("my-clips.yaml").read_text() == "mine: true\n"
    assert init(clips, force=True).path.read_text() != "mine: true\n"
    assert init(clips, out="other.yaml").path == Path("other.yaml")


def test_a_link_to_nothing_is_not_overwritten(clips, tmp_path):
    Path("my-clips.yaml").symlink_to(tmp_path / "precious.yaml")
    assert "it exists" in refusal(clips)
    assert not (tmp_path / "precious.yaml").exists()


def test_a_file_that_appears_meanwhile_is_not_overwritten(clips):
    def opener(paths, seconds) -> Iterator:
        Path("my-clips.yaml").write_text("mine: true\n")
        yield from good(paths, seconds)

    assert "it exists" in refusal(clips, opener=opener)
    assert Path("my-clips.yaml").read_text() == "mine: true\n"


def test_a_folder_and_a_full_disk_are_sentences(clips, monkeypatch):
    Path("there").mkdir()
    assert "there is a folder" in refusal(clips, out="there")

    def full(path, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(writing.Path, "open", full)
    assert "no space left" in refusal(clips)


def test_settings_are_written_and_their_comments_are_not_ours(clips):
    new = init(clips, "data.frames=4", "optimization.batch_size=2", "data.dataset.split_by={kind: random}")
    experiment = load_experiment(new.path)
    assert (experiment.data.frames, experiment.optimization.batch_size) == (4, 2)
    assert experiment.data.dataset.split_by.kind == "random"
    assert new.clips == {"train": 16, "test": 4}
    text = new.path.read_text()
    assert "Frames of each clip" not in text
    assert "patches of 32 pixels" not in text
    assert "# Set by --set.\n  frames: 4" in text
    assert "weights" not in dict(new.lines)


@pytest.mark.parametrize(
    "setting", ["data.frames=none", "data.dataset.rot=3", "method.layers=9", "optimization.batch_size=100"]
)
def test_a_wrong_setting_is_a_sentence_and_nothing_is_written(clips, setting):
    assert setting.partition("=")[0].rpartition(".")[2] in refusal(clips, setting)
    assert not list(Path.cwd().iterdir())


def label_list(folder, name="labels.json"):
    objects = [{"video": put(folder / f"{n}.mp4").name, "action": ("jump", "wave")[n % 2]} for n in range(20)]
    path = folder / name
    path.write_text(json.dumps(objects))
    return path


def test_labels_in_json_become_a_list_beside_the_document(tmp_path):
    source = label_list(tmp_path / "set")
    new = init(source)
    assert sorted(each.name for each in Path.cwd().iterdir()) == ["set.jsonl", "set.yaml"]
    assert "20 clips, 2 classes" in check_experiments([("", load_experiment(new.path))])
    assert any("set.jsonl" in note for note in new.notes)


def test_a_list_is_not_left_behind_or_overwritten(tmp_path):
    source = label_list(tmp_path / "set")
    assert "frames" in refusal(source, "data.frames=none")
    assert not list(Path.cwd().iterdir())
    Path("set.jsonl").write_text("mine\n")
    assert "it exists" in refusal(source)
    assert Path("set.jsonl").read_text() == "mine\n"


def test_group_columns_of_rewritten_lists_are_kept(tmp_path):
    path = label_list(tmp_path / "set")
    objects = [each | {"subject": f"s{n // 4}"} for n, each in enumerate(json.loads(path.read_text()))]
    path.write_text(json.dumps(objects))
    new = init(path)
    assert new.document["data"]["dataset"]["split_by"]["kind"] == "group"
    assert "20 clips" in check_experiments([("", load_experiment(new.path))])


@pytest.mark.parametrize("name", ["two words", "a: b #1", "it's", '"q"', "-leading", "видео", "日本語", "*x"])
def test_any_name_is_valid_in_the_document(tmp_path, name):
    root = class_folders(tmp_path / name, {"-a: b": 4, "'c' #d": 4}, content=EMPTY)
    new = init(root)
    experiment = load_experiment(new.path)
    assert experiment.data.dataset.root == str(root)
    check_experiments([("", experiment)])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("clips", "clips"),
        ("My clips (2)", "My-clips-2"),
        ("-x-", "x"),
        ("видео", "my-clips"),
        ("", "my-clips"),
        ("a" * 200, "a" * 60),
        ("a.b", "a.b"),
    ],
)
def test_names(text, name):
    assert experiment_name(text) == name


@pytest.mark.parametrize(
    ("path", "shown"), [("a.yaml", "a.yaml"), ("two words.yaml", "'two words.yaml'"), ("-a.yaml", "./-a.yaml")]
)
def test_next_commands_can_be_pasted(path, shown):
    assert [command for command, _ in next_steps(Path(path))] == [
        f"side4video {word} {shown}" for word in ("validate", "plan", "run")
    ]


def test_a_name_of_a_list_that_says_nothing_is_that_of_its_folder(tmp_path):
    rows = [[put(tmp_path / "films" / f"{n}.mp4", EMPTY).name, ("jump", "wave")[n % 2]] for n in range(20)]
    for name, wanted in (("labels.csv", "films.yaml"), ("gestures.csv", "gestures.yaml")):
        path = write_csv(tmp_path / "films" / name, [["path", "label"], *rows])
        assert init(path).path == Path(wanted)


def test_a_hundred_thousand_names(tmp_path):
    for label in range(20):
        folder = tmp_path / "many" / f"class {label}"
        folder.mkdir(parents=True)
        first = folder / "0.mp4"
        first.touch()
        for number in range(1, 5000):
            os.link(first, folder / f"{number}.mp4")
    opened = []

    def counting(paths, seconds):
        opened.extend(paths)
        return good(paths, seconds)

    begin = time.process_time()
    new = init(tmp_path / "many", opener=counting)
    assert time.process_time() - begin < 20  # a few seconds alone; other work shares this core's caches
    assert sum(new.clips.values()) == 100_000
    assert len(opened) == 64
    load_experiment(new.path)


def test_as_json(clips):
    document = init(clips).as_json()
    assert json.loads(json.dumps(document)) == document
    assert document["next"][0] == "side4video validate my-clips.yaml"
    assert document["document"]["data"]["dataset"]["root"] == str(clips)


def broken(*parts: str):
    """Opens no video, and says that those whose path has one of the parts are broken."""

    def opener(paths, seconds):
        for path in paths:
            is_broken = any(part in path for part in parts)
            yield path, VideoFacts(problem="cut off") if is_broken else VideoFacts(320, 240, 25.0, 2.0)

    return opener


def notes_of(source, *settings, **options):
    return "\n".join(init(source, *settings, **options).notes)


def test_a_class_without_a_readable_video_is_named(clips):
    said = notes_of(clips, opener=broken("/jump/"))
    assert "10 of 20 opened videos cannot be read: " in said
    assert " jump/" in said
    assert "no opened video can be read of the class jump (10 opened)" in said


def test_one_broken_video_is_no_lost_class(clips):
    said = notes_of(clips, opener=broken("/jump/0"))
    assert "1 of 20 opened videos cannot be read: jump/0.mp4" in said
    assert "of the class" not in said


def listed(folder, rows):
    for name in {row[0] for row in rows}:
        put(folder / name, EMPTY)
    return write_csv(folder / "my-list.csv", [("path", "label"), *rows])


ROWS = [(f"{number}.mp4", "ab"[number % 2]) for number in range(10)]


def test_a_missing_video_has_one_note(tmp_path):
    file = listed(tmp_path / "lists", ROWS)
    (tmp_path / "lists" / "3.mp4").unlink()
    new = init(file)
    assert sum("not in" in note or "cannot be read" in note for note in new.notes) == 1
    assert "all can be read" in dict(new.lines)["videos"]


def test_a_folder_for_training_alone_gives_its_name_to_nothing(tmp_path):
    class_folders(tmp_path / "trainonly" / "train", {"jump": 5, "wave": 5})
    assert init(tmp_path / "trainonly").path == Path("trainonly.yaml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (ROWS[:2], "2 clips are listed more than once, the first: "),
        ([("0.mp4", "b")], "1 clip is listed under several classes, the first: "),
        ([("x.mp4", "nan"), ("y.mp4", "nan")], "the class 'nan' looks like a value that is missing"),
        ([], ""),
    ],
)
def test_slips_of_labels_are_told(tmp_path, more, said):
    found = notes_of(listed(tmp_path / "lists", [*ROWS, *more]))
    assert said in found
    assert ("listed" in found or "looks like" in found) == bool(said)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"video": "1.mp4"}, "no 'label'"),
        ({"video": "1.mp4", "label": None}, "no 'label'"),
        ({"video": "1.mp4", "label": ["a"]}, "'label' is ['a'] · allowed: a label"),
        ({"video": 5, "label": "a"}, "'video' is 5 · allowed: a path, as text"),
        ({"label": "a"}, "no 'video'"),
    ],
)
def test_a_bad_record_is_one_of_the_user_s_own_file(tmp_path, record, said):
    folder = tmp_path / "lists"
    for name, _ in ROWS:
        put(folder / name, EMPTY)
    records = [{"video": name, "label": label} for name, label in ROWS]
    (folder / "mix.json").write_text(json.dumps([*records[:2], record, *records[2:]]))
    found = refusal(folder / "mix.json", out="out.yaml")
    assert f"mix.json: record 3: {said}" in found
    assert not Path("out.jsonl").exists()
