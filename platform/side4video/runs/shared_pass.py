"""Sweeps of several users on one endless pass (`packing: {seats: 8, share: true}`).

Sweeps with the same data, batches, evaluation, backbone and number of seats, the same store and the same
`cluster.storage` meet at a run of the store, the pass's run. Each has told there that it wants seats. The command that
holds the pass's folder trains the arms of all; the others wait, and show what is recorded of their own arms. When that
command needs the pass no more, or has died, one of the others takes it over, from the newest checkpoint.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from side4video.arm_search.records import ArmRecord, title_of
from side4video.core import signals
from side4video.core.errors import Interrupted
from side4video.core.held_lock import HeldError
from side4video.runs.checkpoint_folders import storage_root
from side4video.runs.endless_pass import EndlessPass, is_over, read_seats, store_requests
from side4video.runs.packs import SweepRun
from side4video.runs.shared_logger import MEMBER_FILE
from side4video.runs.trainer import Trainer
from side4video.spec.experiment import Experiment
from side4video.tracking.run_holder import describe_holder, hold_folder, renewing_tag, wait_for_other_machine
from side4video.tracking.run_store import RunStore, artifact_text
from side4video.tracking.stores import open_store
from side4video.tracking.tags import KEY_TAG, MEMBER_TAG, RUN_KIND_TAG, SHARED_PASS_KIND

EXPERIMENT = "side4video-shared-passes"
"""The MLflow experiment of the passes' own runs."""
POLL_SECONDS = 2.0
"""How often a waiting command looks at the pass."""


@dataclass
class SharedPass:
    """A pass that sweeps share, as the command of one of them sees it."""

    store: RunStore
    run_id: str
    """Of the pass's run."""
    member: str
    """Id of the run of this command's sweep."""
    _documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def news(self) -> list[dict[str, Any]]:
        """All sweeps that have asked for seats, for `SharedSearch.news`."""
        tags = {name: text for name, text in self.store.get(self.run_id).tags.items() if name.startswith(MEMBER_TAG)}
        told = {name.removeprefix(MEMBER_TAG): json.loads(text) for name, text in tags.items()}
        found = []
        for member in sorted(told, key=lambda each: (told[each]["since"], each)):
            if member not in self._documents:
                self._documents[member] = json.loads(artifact_text(self.store, member, MEMBER_FILE))["document"]
            requests = store_requests(self.store, member)()
            state = {"is_here": told[member]["is_here"], "closes_at": told[member]["closes_at"]}
            found.append({"member": member, "document": self._documents[member], **state, "requests": requests})
        return found

    @contextmanager
    def joined(self, document: Mapping[str, Any], *, closes_at: float) -> Iterator[None]:
        """Ask for seats inside the block."""
        self.store.log_json(self.member, dict(document), MEMBER_FILE)
        before = json.loads(self.store.get(self.run_id).tags.get(MEMBER_TAG + self.member, "{}"))
        about = {"since": before.get("since", time.time()), "closes_at": closes_at}
        self._tell({**about, "is_here": True})
        try:
            yield
        finally:
            self._tell({**about, "is_here": False})

    @contextmanager
    def trained_here(self, folder: str, name: str) -> Iterator[str]:
        """Hold the pass inside the block; gives the reason if another command does, else an empty text."""
        with ExitStack() as held:
            try:
                held.enter_context(hold_folder(folder, f"the shared pass of {name}"))
                wait_for_other_machine(self.store, self.store.get(self.run_id))
                held.enter_context(renewing_tag(self.store, {name: self.run_id}))
                reason = ""
            except HeldError as error:
                held.close()
                reason = describe_holder(self.store.get(self.run_id)) or error.found
            yield reason

    def _tell(self, about: Mapping[str, Any]) -> None:
        self.store.set_tags(self.run_id, {MEMBER_TAG + self.member: json.dumps(about)})


def train_shared(sweep_run: SweepRun, endless: EndlessPass, trainer: Trainer) -> None:
    """Train the arms of a sweep on a pass that it shares: here, or by the command that has begun it."""
    name = sweep_run.sweep.spec.name
    shared, folder = meet(endless, sweep_run)
    endless = replace(endless, folder=folder, shared=shared)
    told = member_document(endless, sweep_run)
    left = None if sweep_run.deadline is None else sweep_run.deadline - time.monotonic()
    watch = _Watch(sweep_run, endless)
    with shared.joined(told, closes_at=time.time() + left if left is not None else 1e300):
        while watch.needs_pass:
            with shared.trained_here(folder, name) as reason:
                if not reason:
                    trainer.train_passes(sweep_run, [endless])
                    if sweep_run.failures:
                        return
            if reason:
                watch.wait(reason)


def member_document(endless: EndlessPass, sweep_run: SweepRun) -> dict[str, Any]:
    """What the command that trains the arms must know of a sweep."""
    return {
        "document": endless.document(len(endless.base.data.listed.classes())).as_json(),
        "key": sweep_run.sweep_logger.key,
        "fingerprint": sweep_run.fingerprint,
        "clips": endless.clips,
    }


def meet(endless: EndlessPass, sweep_run: SweepRun) -> tuple[SharedPass, str]:
    """The pass that a sweep shares, and its folder. Its run is made if there is none."""
    base, member = endless.base, sweep_run.sweep_logger.parent
    alone = {"experiment": EXPERIMENT, "also": ()}
    store = open_store(base.tracking.model_copy(update=alone)).prepare()
    identity = pass_identity(base, sweep_run.sweep.spec.seats, sweep_run.fingerprint, store)
    key = f"pass/{identity}"
    store.start_run(name=f"shared pass {identity}", key=key, tags={RUN_KIND_TAG: SHARED_PASS_KIND}, resume=True)
    # Two commands that began at the same time may both have made one.
    first = min(store.runs(tags={KEY_TAG: key}), key=lambda run: (run.start_ms, run.run_id))
    return SharedPass(store, first.run_id, member), f"{storage_root(base)}/shared-pass-{identity}"


def pass_identity(base: Experiment, seats: int, fingerprint: str, store: RunStore) -> str:
    """What sweeps have in common that share a pass."""
    common = [base.shared(), base.backbone_key, seats, fingerprint, storage_root(base), store.uri]
    return hashlib.sha256(json.dumps(common, sort_keys=True, default=str).encode()).hexdigest()[:12]


class _Watch:
    """What a command whose arms another one trains sees of them."""

    def __init__(self, sweep_run: SweepRun, endless: EndlessPass) -> None:
        self._run, self._endless = sweep_run, endless
        self._reason = ""
        self._seen: dict[str, ArmRecord] = {}

    @property
    def needs_pass(self) -> bool:
        """Whether arms of the sweep train, wait or will be proposed."""
        store, parent = self._run.sweep_logger.store, self._run.sweep_logger.parent
        if is_over(store, self._endless, parent):
            return False
        is_late = self._run.deadline is not None and time.monotonic() > self._run.deadline
        return not is_late or any(each["state"] == "training" for each in self._state().get("records", ()))

    def wait(self, reason: str) -> None:
        """Show what has changed, and wait a moment.

        Raises:
            Interrupted: The command was asked to stop.
        """
        progress, pack = self._run.progress, self._endless.pass_id
        holder = reason.partition(" works on it")[0]
        if holder != self._reason:
            progress.report(f"sharing a pass, which {holder} trains", pack=pack)
            self._reason = holder
        self._show(pack)
        deadline = time.monotonic() + POLL_SECONDS
        while time.monotonic() < deadline:
            if signals.stop_requested():
                raise Interrupted("asked to stop (SIGTERM); arms that have a seat in the shared pass keep it")
            time.sleep(0.1)

    def _show(self, pack: str) -> None:
        state, before = self._state(), self._seen
        records = [ArmRecord.from_json(each) for each in state.get("records", ())]
        self._seen = {each.name: each for each in records}
        changed = [each for each in records if each.state != "waiting" and each != before.get(each.name)]
        if not changed:
            return
        self._run.progress.report(
            "seats",
            pack=pack,
            epoch=int(state["times"][-1]["epoch"]),
            seated=[each.short_key for each in records if each.state == "training"],
            labels={each.short_key: title_of(each) for each in changed},
            states={each.short_key: each.state for each in changed},
            waiting=sum(each.state == "waiting" for each in records) + state["to_propose"],
        )
        metric = self._run.sweep.spec.metric
        new = [each for each in changed if each.values and each.values != getattr(before.get(each.name), "values", {})]
        if new:
            metrics = {each.short_key: {metric: each.by_epoch[max(each.by_epoch)]} for each in new}
            epoch = int(state["times"][-1]["epoch"]) - 1
            self._run.progress.report("evaluated", pack=pack, epoch=epoch, metrics=metrics)

    def _state(self) -> dict[str, Any]:
        """What is recorded of the sweep's arms on the pass; empty before its first epoch with them."""
        states = read_seats(self._run.sweep_logger.store, self._run.sweep_logger.parent)
        return states.get(self._endless.pass_id, {})
