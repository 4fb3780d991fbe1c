"""Seats on two workers without Ray: each arm is what it is alone on two workers, also after a restart."""

import json

import pytest
import torch
from safetensors.torch import load_file

from side4video.arm_search.shared_search import records_in
from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PASS = """
from seat_passes import ASHA, OPTUNA, seat_sweep, train_pass

sweep = seat_sweep({"cluster": {"workers": world}}, optuna={**OPTUNA, "arms": 5}, scheduler=ASHA, packing={"seats": 2})
name = "{NAME}-" + str(rank)
sources = sorted((folder / SOURCE).glob("checkpoint-*"), reverse=True)[SKIP:] if SOURCE else ()
outcome = train_pass(sweep, folder / name, resume_from=sources, process=process)
if rank == 0:
    (folder / "{NAME}.json").write_text(json.dumps(outcome.states[-1], sort_keys=True))
"""
ALONE = """
import shutil
from side4video.arm_search.records import ArmRecord, arm_from_json
from side4video.run import RunContext, run
from side4video.runs.pass_logger import joined_experiment
state = json.loads((folder / "whole.json").read_text())
records = [ArmRecord.from_json(each) for each in state["records"]]
later = [record for record in records if record.stays[0].first and record.epochs > 1] or records[-1:]
record = later[0]
def keep(report):
    if report.checkpoint is not None:
        shutil.copytree(report.checkpoint, folder / "alone" / str(report.epoch + 1))
scratch = folder / f"scratch-alone-{rank}"
scratch.mkdir()
spec = joined_experiment(arm_from_json(record.arm).experiment, record)
run({record.name: spec}, RunContext(process, scratch, keep, threads=1))
if rank == 0:
    (folder / "alone.json").write_text(json.dumps([record.name, record.epochs]))
"""


SHARED = """
from seat_passes import ASHA, OPTUNA, seat_sweep, train_pass
from side4video.arm_search.document import SearchDocument
from side4video.arm_search.records import arm_as_json
from side4video.arm_search.shared_search import SharedSearch

def told(member, **ways):
    sweep = seat_sweep({"cluster": {"workers": world}}, packing={"seats": 2}, **ways)
    document = SearchDocument(
        sweep.spec.model_dump(mode="json", exclude_unset=True), dict(sweep.base), "test",
        [arm_as_json(arm) for arm in sweep.arms], 4, 2,
    )
    return {"member": member * 32, "document": document.as_json(), "is_here": True, "closes_at": 1e300, "requests": []}

rates = {"grid": {"optimization.learning_rate": [1e-3, 3e-3, 1e-4]}}
members = [told("a", **rates), told("b", optuna={**OPTUNA, "arms": 3}, scheduler=ASHA)]
heard = []
def news():
    heard.append(True)
    return members[:1 if len(heard) < 3 else 2]

search = SharedSearch(2, "b" * 32, news) if rank == 0 else None
sweep = seat_sweep({"cluster": {"workers": world}}, **rates)
outcome = train_pass(sweep, folder / f"shared-{rank}", search=search, process=process)
if rank == 0:
    (folder / "shared.json").write_text(json.dumps(outcome.states[-1]))
"""
EACH_ALONE = """
import shutil
from side4video.arm_search.records import arm_from_json
from side4video.arm_search.shared_search import records_in
from side4video.run import RunContext, run
from side4video.runs.pass_logger import joined_experiment
for record in records_in(json.loads((folder / "shared.json").read_text())):
    def keep(report):
        if report.checkpoint is not None and report.epoch + 1 == record.epochs:
            shutil.copytree(report.checkpoint / record.name, folder / "each-alone" / record.name)
    scratch = folder / f"scratch-{record.name}-{rank}"
    scratch.mkdir()
    spec = joined_experiment(arm_from_json(record.arm).experiment, record)
    run({record.name: spec}, RunContext(process, scratch, keep, threads=1))
"""


def script(text, *, name, source="", skip=0):
    return text.replace("{NAME}", name).replace("SOURCE", repr(source)).replace("SKIP", str(skip))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seats")
    run_workers(2, folder, script(PASS, name="whole"))
    return folder


def newest(folder, name):
    """The newest checkpoint that has an arm's weights."""
    found = [each for each in sorted(folder.glob("checkpoint-*")) if (each / name / "weights.safetensors").is_file()]
    return load_file(found[-1] / name / "weights.safetensors")


def test_an_arm_that_joined_two_workers_equals_itself_alone(folder):
    run_workers(2, folder, ALONE)
    name, epochs = json.loads((folder / "alone.json").read_text())
    alone = load_file(folder / "alone" / str(epochs) / name / "weights.safetensors")
    packed = newest(folder / "whole-0", name)
    assert alone.keys() == packed.keys()
    for key, tensor in alone.items():
        assert torch.equal(packed[key], tensor), key


def test_a_pass_of_two_workers_goes_on_like_the_undisturbed_one(folder):
    """From the checkpoint three before the last: arms were paused, whose files only the first worker wrote."""
    run_workers(2, folder, script(PASS, name="resumed", source="whole-0", skip=3))
    assert json.loads((folder / "resumed.json").read_text()) == json.loads((folder / "whole.json").read_text())


def test_two_sweeps_share_a_pass_of_two_workers_and_each_arm_equals_itself_alone(folder):
    run_workers(2, folder, SHARED)
    run_workers(2, folder, EACH_ALONE)
    records = records_in(json.loads((folder / "shared.json").read_text()))
    assert len(records) == 6
    assert len({record.name[:1] for record in records if record.stays[0].first == 4}) == 2, "both got free seats"
    for record in records:
        alone = load_file(folder / "each-alone" / record.name / "weights.safetensors")
        packed = newest(folder / "shared-0", record.name)
        for key, tensor in alone.items():
            assert torch.equal(packed[key], tensor), (record.name, key)
