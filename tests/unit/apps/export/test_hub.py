"""A model on the hub is what was exported, private unless said otherwise; nothing goes there unasked."""

import json
import shutil

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import HfApi, ModelCard

import side4video
from hub_fake import TOKEN, fake_hub
from side4video.apps.export import hub as hub_module
from side4video.apps.export.command import export
from side4video.apps.export.hub import Hub
from side4video.core.errors import InputError, Side4VideoError
from tiny import tiny

NAME = "somebody/motion"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A fake of the hub, and the interface that finds it; no token of this machine is seen."""
    with fake_hub() as fake:
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: HfApi(endpoint=fake.address, token=TOKEN))
        yield fake


def call(run, folder, *options):
    return CliRunner().invoke(export, [run.run_id, str(folder), "--weights", "last", *options])


def test_what_is_pushed_is_what_was_exported_and_can_be_loaded(run, hub, tmp_path):
    done = call(run, tmp_path / "model", "--with-backbone", "--push", NAME, "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["page"] == f"{hub.address}/{NAME}"
    assert hub.private == {NAME: True}
    there = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert hub.files[NAME] == there
    # As `snapshot_download` leaves it: links into a cache, and the hub's own files beside them.
    for name, content in {**hub.files[NAME], ".gitattributes": b"*.safetensors filter=lfs\n"}.items():
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / "blobs" / name).write_bytes(content)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    video = tiny().data.dataset.clips("test")[0].path
    shutil.rmtree(tmp_path / "model")
    assert side4video.load(tmp_path / "snapshot").predict([video])[0].labels


def test_without_the_flag_nothing_is_asked_of_the_hub(run, hub, tmp_path):
    assert call(run, tmp_path / "model").exit_code == 0
    assert hub.asked == []


def test_public_is_said(run, hub, tmp_path):
    assert call(run, tmp_path / "model", "--push", NAME, "--public").exit_code == 0
    assert hub.private == {NAME: False}
    refused = call(run, tmp_path / "other", "--public")
    assert "--public: there is no --push" in str(refused.exception)


def test_a_public_place_is_not_written_to_without_the_word(run, hub, tmp_path):
    hub.private[NAME] = False
    refused = call(run, tmp_path / "model", "--push", NAME)
    assert isinstance(refused.exception, InputError)
    assert "everybody may read it · fix: add --public" in str(refused.exception)
    assert not (tmp_path / "model").exists()
    assert not [asked for asked in hub.asked if asked.startswith("POST")]
    assert call(run, tmp_path / "model", "--push", NAME, "--public").exit_code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("motion", "has no namespace"), ("a/b/c", "Repo id"), ("some body/x", "Repo id"), ("../x", "Repo id")],
)
def test_names_that_are_none(hub, name, message):
    with pytest.raises(InputError, match=f"--push: .*{message}.* allowed: NAMESPACE/NAME"):
        Hub(name).check()
    assert hub.asked == []


def test_without_a_token_nothing_is_exported(run, hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: HfApi(endpoint=hub.address))
    refused = call(run, tmp_path / "model", "--push", NAME)
    assert "there is no token of the Hugging Face hub · fix: export HF_TOKEN" in str(refused.exception)
    assert not (tmp_path / "model").exists()
    assert hub.asked == []


@pytest.mark.parametrize(("status", "kind", "message"), [(403, InputError, "may write"), (500, Side4VideoError, "500")])
def test_what_the_hub_refuses_is_one_line_without_the_token(run, hub, tmp_path, status, kind, message, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.refuses = status
    refused = call(run, tmp_path / "model", "--push", NAME)
    assert isinstance(refused.exception, kind)
    assert message in str(refused.exception)
    assert "\n" not in str(refused.exception)
    assert TOKEN not in str(refused.exception)


def test_no_hub_is_said_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(Side4VideoError, match="--push: the hub cannot be reached"):
        Hub(NAME, api=HfApi(endpoint="http://127.0.0.1:9", token=TOKEN)).check()

    def offline(*_, **__):
        from huggingface_hub.errors import OfflineModeIsEnabled

        raise OfflineModeIsEnabled("offline mode")

    api = HfApi(token=TOKEN)
    monkeypatch.setattr(api, "repo_info", offline)
    with pytest.raises(InputError, match="--push: HF_HUB_OFFLINE is set · fix: unset it"):
        Hub(NAME, api=api).check()


def test_the_cards_header_is_what_the_hub_reads(run, tmp_path):
    assert call(run, tmp_path / "model", "--license", "apache-2.0").exit_code == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "side4video", "video-classification")
    assert {"side4video", "video-classification", "vit"} <= set(data.tags)
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found["top-1 accuracy"] == pytest.approx(run.metrics["eval/top1"], abs=1e-6)
    assert {result.task_type for result in data.eval_results} == {"video-classification"}
    assert call(run, tmp_path / "other").exit_code == 0
    header = yaml.safe_load((tmp_path / "other" / "README.md").read_text().split("---")[1])
    assert "license" not in header


def test_a_header_of_other_weights_figures_is_noticed(run, tmp_path):
    """The twin: `eval/` figures are the last weights', and must not stand in the header of the best."""
    from side4video.apps.export.card import card_header
    from side4video.spec.bundle import Bundle

    figures = {"eval/top1": 0.5, "best/top1": 0.75}
    headers = {
        weights: card_header(Bundle("a", ("b", "c"), "", figures, {"weights": weights}), tiny())
        for weights in ("best", "last")
    }
    values = {name: header["model-index"][0]["results"][0]["metrics"][0]["value"] for name, header in headers.items()}
    assert values == {"best": 0.75, "last": 0.5}


def test_the_hub_is_imported_only_for_a_push():
    assert "huggingface_hub" not in vars(hub_module)
