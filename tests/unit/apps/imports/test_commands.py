"""An imported folder is a model like any other: commands take it, and classes keep their meaning."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

import authors_files
import side4video
from side4video.apps.imports.command import import_checkpoint
from side4video.apps.search.command import search
from side4video.apps.serve.served_model import find_model
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.spec.bundle import WEIGHTS, read_bundle
from tiny import DOCUMENT, merged

DATA = {"dataset": {"kind": "motion", "train_clips": 20, "test_clips": 20, "frames": 8, "size": 32}, "frames": 4}


@pytest.fixture
def experiment(tmp_path) -> Path:
    """An experiment file whose frames and size are others than the model's."""
    document = merged(DOCUMENT, {"data": DATA})
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def motion_classes() -> tuple[str, ...]:
    from tiny import tiny

    return tiny(data=DATA).data.dataset.classes()


def run_import(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(import_checkpoint, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def st_adapter(place: Path, classes: int) -> Path:
    shapes = authors_files.st_adapter() | authors_files.layer("fc", classes, authors_files.WIDTH)
    torch.save({"model": authors_files.values(shapes, seed=1)}, place / "st.pth")
    return place / "st.pth"


def evaluated(*arguments: object) -> dict:
    done = CliRunner().invoke(cli, ["evaluate", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_evaluate_takes_the_classes_in_any_order(tmp_path, experiment):
    """With the data at the import, at the evaluation, or never: the same accuracies; the order of names is kept."""
    names = motion_classes()
    backwards = tmp_path / "names.txt"
    backwards.write_text("\n".join(reversed(names)))
    file = st_adapter(tmp_path, len(names))
    sizes = ("--set", "data.frames=4")
    run_import("st-adapter", file, tmp_path / "plain", "--classes", backwards, *sizes)
    run_import("st-adapter", file, tmp_path / "with-data", "--classes", backwards, "--data", experiment)
    plain, with_data = (read_bundle(tmp_path / name)[0].classes for name in ("plain", "with-data"))
    assert plain == tuple(reversed(names))
    assert with_data == names
    first, second = (load_file(tmp_path / name / WEIGHTS)["head.1.weight"] for name in ("plain", "with-data"))
    assert torch.equal(first, second.flip(0))
    one = evaluated(tmp_path / "plain", "--data", experiment)
    two = evaluated(tmp_path / "with-data")
    assert one["metrics"] == pytest.approx(two["metrics"], abs=1e-6)
    assert one["videos"] == 20
    with pytest.raises(InputError, match=r"plain: its document has no data set .* fix: --data SPEC"):
        CliRunner().invoke(cli, ["evaluate", str(tmp_path / "plain")], catch_exceptions=False)


def test_folders_are_evaluated_in_one_pass(tmp_path, experiment):
    """Each on its own tower, beside each other as runs are."""
    names = motion_classes()
    shapes = authors_files.side4video() | authors_files.layer("fc", len(names), authors_files.DIM)
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders):
        torch.save({"model_state_dict": authors_files.values(shapes, seed)}, tmp_path / "s.pt")
        run_import("side4video", tmp_path / "s.pt", folder, "--data", experiment)
    both = evaluated(*folders)
    alone = [evaluated(folder) for folder in folders]
    assert [each["metrics"] for each in both] == [pytest.approx(each["metrics"], abs=1e-6) for each in alone]
    assert both[0]["metrics"] != both[1]["metrics"]
    assert both[0]["weights"] == "an imported file"


def test_twin_rows_that_stay_where_they_are_give_other_accuracies(tmp_path, experiment):
    """The broken twin of the order: the same file, with names that say the opposite."""
    names = motion_classes()
    file = st_adapter(tmp_path, len(names))
    run_import("st-adapter", file, tmp_path / "right", "--data", experiment)
    (tmp_path / "names.txt").write_text("\n".join((*names[1:], names[0])))
    run_import("st-adapter", file, tmp_path / "wrong", "--data", experiment, "--classes", tmp_path / "names.txt")
    right, wrong = (evaluated(tmp_path / name)["metrics"] for name in ("right", "wrong"))
    assert right["eval/loss"] != wrong["eval/loss"]


def test_other_classes_are_named(tmp_path, experiment):
    (tmp_path / "names.txt").write_text("\n".join(("something else", *motion_classes()[1:])))
    file = st_adapter(tmp_path, len(motion_classes()))
    run_import("st-adapter", file, tmp_path / "model", "--classes", tmp_path / "names.txt", "--set", "data.frames=4")
    with pytest.raises(InputError, match=r"the model has something else, which the data set does not have"):
        CliRunner().invoke(
            cli, ["evaluate", str(tmp_path / "model"), "--data", str(experiment)], catch_exceptions=False
        )
    with pytest.raises(InputError, match=r"--data: given, and some-run is a run"):
        CliRunner().invoke(cli, ["evaluate", "some-run", "--data", str(experiment)], catch_exceptions=False)


def test_predict_serve_and_load_take_the_folder(tmp_path, experiment):
    file = st_adapter(tmp_path, len(motion_classes()))
    said = run_import("st-adapter", file, tmp_path / "model", "--data", experiment, "--name", "authors")
    assert "made up, and not used: proj of the tower" in said
    assert "ask it: side4video predict" in said
    assert "assumed" not in said
    video = shutil.copy(read_bundle(tmp_path / "model")[1].data.dataset.clips("test")[0].path, tmp_path / "a.mp4")
    model = side4video.load(tmp_path / "model")
    (expected,) = model.predict([video])
    assert "authors, imported from st.pth (st-adapter)" in repr(model)
    done = CliRunner().invoke(cli, ["predict", str(tmp_path / "model"), str(video), "--json"], catch_exceptions=False)
    ((label, score), *_) = json.loads(done.stdout)[0]["labels"]
    assert (label, score) == (expected.labels[0][0], pytest.approx(expected.labels[0][1]))
    assert find_model(str(tmp_path / "model"), "", tmp_path, device="cpu").classes == motion_classes()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "github.com/linziyi96/st-adapter" in card


def test_search_takes_a_retrieval_model(tmp_path, experiment):
    torch.save(authors_files.values(authors_files.side4video_retrieval(), seed=3), tmp_path / "s.bin")
    said = run_import("side4video-retrieval", tmp_path / "s.bin", tmp_path / "model", "--set", "data.frames=4")
    assert "assumed, for the file does not say: task.words 32; --set changes it" in said
    (tmp_path / "videos").mkdir()
    from tiny import tiny

    for number, clip in enumerate(tiny(data=DATA).data.dataset.clips("test")[:3]):
        shutil.copy2(clip.path, tmp_path / "videos" / f"{number}.mp4")
    arguments = [str(tmp_path / "model"), "a red disc", str(tmp_path / "videos"), "--json", "--index", str(tmp_path)]
    done = CliRunner().invoke(search, arguments, catch_exceptions=False)
    assert len(json.loads(done.stdout)) == 3
    document = json.loads(run_import("side4video-retrieval", tmp_path / "s.bin", tmp_path / "again", "--json"))
    assert document["left_out"] == []
    assert document["origin"]["format"] == "side4video-retrieval"
    assert evaluated(tmp_path / "model", "--data", experiment)["metrics"].keys() >= {"eval/t2v_r1"}
