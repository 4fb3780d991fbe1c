"""The seats of an endless pass: students join and leave between two epochs, are paused, and go on.

`Seats` carries out what an `ArmSource` decides, on every worker, and keeps what a checkpoint needs of it.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError, Side4VideoError
from side4video.engine.arm_source import ArmResult, ArmSource, Changes, Joining
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.checkpoint import cannot_write, restore_student, save_student
from side4video.engine.epoch_callback import PENDING_REPORTS, EpochCallback, Report
from side4video.engine.pack import FrozenPass, Pack
from side4video.engine.result import constant_metrics, training_result
from side4video.engine.resume import CheckpointSource, ResumePosition, newest_valid
from side4video.engine.step import Plan, dry_run
from side4video.engine.student import Student
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.run import RunContext, build_student, build_towers, mock_video
from side4video.run_start import load_start
from side4video.spec.check import check_consistency
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment


def pass_identity(base: Experiment) -> str:
    """What makes a pass another one: all that its arms share."""
    return hashlib.sha256(json.dumps(base.shared(), sort_keys=True).encode()).hexdigest()


@dataclass
class Seats:
    """The students of a pass: who trains, who is paused, who has left (`engine.epoch_callback.Membership`)."""

    base: Experiment
    arms: ArmSource | None
    context: RunContext
    pack: Pack
    towers: dict[str, FrozenTower]
    plan: Plan
    callback: EpochCallback = field(init=False)
    seated: dict[str, Joining] = field(default_factory=dict)
    paused: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The result so far of each paused arm, and the seconds and bytes that it has taken."""
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Results of arms that left at one of the last boundaries. Reports repeat them after a restart."""
    _results: dict[str, ArmResult] = field(default_factory=dict)
    """Of arms that left since the last boundary."""
    _joined: list[str] = field(default_factory=list)
    _paused_now: list[str] = field(default_factory=list)
    _ended_now: list[str] = field(default_factory=list)
    _step: int = 0
    _untold: bool = False
    """Whether a decision is not shown yet."""
    _held: dict[str, int] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def change(self, info: EpochInfo) -> None:
        """Let arms leave and join. Within an epoch, only those leave whose training has ended. Collective."""
        self._step = info.next_step
        for student in self.pack.students:
            own = info.own(student.offset)
            if own.is_last or not student.is_training:
                state = "finished" if student.is_training else student.state
                self._results[student.name] = self._result(student, info, state)
                self._leave(student, info)
        if not info.is_boundary:
            return
        going_on = {student.name: self._result(student, info, "training") for student in self.pack.students}
        results, self._results = {**self._results, **going_on}, {}
        epoch = info.next_step // self.plan.steps_per_epoch
        self.ended = {name: each for name, each in self.ended.items() if epoch - each["epoch"] < PENDING_REPORTS}
        self._forget_others()
        self._apply(self._decide(lambda arms: arms.advance(epoch, results)), info.next_step)

    def begin(self, position: ResumePosition) -> None:
        """Seat the first arms, if the pass does not go on from a checkpoint, and report who is there."""
        self._step = position.next_step
        if not self.seated:
            epoch = position.next_step // self.plan.steps_per_epoch
            self._apply(self._decide(lambda arms: arms.advance(epoch, {})), position.next_step)
        self._tell(position.next_step)
        notes = tuple(self.callback.notes)
        self.context.report(Report(0, position.next_step, False, {}, {}, None, notes, self.report()))

    def after_step(self, info: StepInfo) -> None:
        """Do nothing: seats change between two epochs."""

    def after_epoch(self, info: EpochInfo) -> None:
        """Show who has joined and left: the last one of the callbacks, after the metrics of the epoch were shown."""
        if self._untold:
            self._tell(info.next_step)

    def state(self) -> dict[str, Any]:
        """See `Membership`."""
        offsets = {student.name: student.offset for student in self.pack.students}
        now = time.monotonic()
        return {
            "arms": dict(self.arms.state()) if self.arms else {},
            "seated": [
                {**asdict(each), "offset": offsets[name], "seconds": now - self._since[name], "held": self._held[name]}
                for name, each in self.seated.items()
            ],
            "paused": self.paused,
            "ended": self.ended,
            "waiting_results": {name: asdict(each) for name, each in self._results.items()},
        }

    def report(self) -> dict[str, Any]:
        """See `Membership`: who `joined`, is `paused` or `ended` (with results) since the last report.

        Also all decisions so far (`arms`), the `epoch` of the pass, and how many more it is expected to take.
        """
        ended = {name: self.ended[name]["result"] for name in self._ended_now}
        changes = {
            "joined": self._joined,
            "paused": self._paused_now,
            "ended": ended,
            "arms": dict(self.arms.state()) if self.arms else {},
            "epoch": self._step / self.plan.steps_per_epoch,
            "epochs_left": self.arms.epochs_left() if self.arms else 0,
        }
        self._joined, self._paused_now, self._ended_now = [], [], []
        return changes

    def resume(self, sources: Sequence[CheckpointSource]) -> ResumePosition:
        """Take over students, decisions and results from the newest complete checkpoint. Collective.

        Raises:
            InputError: If it is of another pass.
        """
        if not sources:
            return ResumePosition()
        folder, state, notes = newest_valid(sources, self.context.process)
        if state["identity"].get("pass") != pass_identity(self.base):
            raise InputError(
                str(folder),
                "the checkpoint is of another pass",
                fix="resume with the sweep it was written with, or start again",
            )
        members = state["members"]
        if self.arms:
            self.arms.restore(members["arms"])
        self.paused, self.ended = dict(members["paused"]), dict(members["ended"])
        self._results = {name: ArmResult(**each) for name, each in members["waiting_results"].items()}
        for each in members["seated"]:
            joining = Joining(each["name"], each["experiment"], each["seat"], each["epochs"])
            student = self._build(joining)
            self._held[student.name] = self._try_step(student, self._spec(joining))
            restore_student(folder, student)
            student.offset = each["offset"]
            self._since[student.name] = time.monotonic() - each["seconds"]
            self._seat(joining, student)
            self._joined.append(joining.name)
        self.callback.absent = {*self.paused, *self.ended}
        self.callback.restore(folder, state)
        for name in (*self.paused, *self.ended):
            if (folder / name).is_dir():  # an arm that could not be built has left no files
                shutil.copytree(folder / name, self._kept(name), dirs_exist_ok=True)
        self._paused_now, self._ended_now = list(self.paused), list(self.ended)
        position = ResumePosition(int(state["next_step"]), bool(state.get("is_open", False)))
        self.callback.notes += [*notes, f"went on from step {position.next_step} of the pass"]
        self._step = position.next_step
        self.callback.report_recent(state)
        return position

    # ---- leaving

    def _result(self, student: Student, info: EpochInfo, state: str) -> ArmResult:
        own = info.own(student.offset)
        latest = self.callback.latest.get(student.name, {})
        epoch = latest.get("val/epoch", latest.get("eval/epoch", -1.0))
        is_new = int(epoch) == own.epoch or (state != "training" and bool(latest))
        epochs = -(-own.next_step // self.plan.steps_per_epoch)
        return ArmResult(epochs, state, latest if is_new else {}, student.failure)

    def _training_result(self, student: Student) -> dict[str, Any]:
        name = student.name
        fingerprint = self.towers[self._experiment_of(name).backbone_key].fingerprint()
        seconds = time.monotonic() - self._since[name]
        result = training_result(student, self.callback, self.plan, fingerprint, (self._held[name], 0.0))
        whole = asdict(replace(result, time={**result.time, "total_s": seconds}))
        return {**whole, "reason": student.failure} if student.failure else whole

    def _leave(self, student: Student, info: EpochInfo, *, is_paused: bool = False) -> None:
        """Take a student out of the pack, and keep its state and its result beside the best weights. Collective."""
        name = student.name
        result = self._training_result(student)
        self._on_first(lambda: save_student(self._kept(name), student))
        if is_paused:
            self.paused[name] = {
                "result": {**result, "state": "stopped"},
                "seconds": time.monotonic() - self._since[name],
                "held": self._held[name],
            }
            self._paused_now.append(name)
            self.callback.absent.add(name)
        else:
            self._end(name, result, info.next_step)
        for part in self.pack.passes:
            part.students[:] = [each for each in part.students if each is not student]
        del self.seated[name]
        student.stop()

    def _end(self, name: str, result: Mapping[str, Any], step: int) -> None:
        epoch = step // self.plan.steps_per_epoch
        self.ended[name] = {"result": dict(result), "epoch": epoch}
        self._ended_now.append(name)

    def _forget_others(self) -> None:
        """Remove the files and figures of arms that are neither in a seat nor paused nor just ended."""
        known = {*self.seated, *self.paused}
        self.callback.absent &= known
        for table in (self.callback.latest, self.callback.best, self.callback.steps_trained):
            for name in [name for name in table if name not in known]:
                del table[name]
        for entry in self.callback.history:
            entry["metrics"] = {name: each for name, each in entry["metrics"].items() if name in known}
        self.callback.history[:] = [entry for entry in self.callback.history if entry["metrics"]]
        kept = self.context.scratch / "kept"
        for folder in kept.iterdir() if kept.is_dir() else ():
            if folder.name not in {*known, *self.ended}:
                shutil.rmtree(folder, ignore_errors=True)

    # ---- joining

    def _decide(self, ask: Callable[[ArmSource], Changes]) -> Changes:
        """The first worker's decision, on every worker. Collective."""
        decision: list[Any] = []

        def decide() -> None:
            if self.arms:
                decision.append(asdict(ask(self.arms)))

        self.context.process.run_on_all_workers(decide)
        made = self.context.process.gather(decision)[0][0]
        return Changes(made["pause"], made["stop"], [Joining(**each) for each in made["join"]])

    def _apply(self, changes: Changes, step: int) -> None:
        """Carry out a decision, and those that follow if an arm cannot be built. Collective."""
        info = self._moment(step)
        while True:
            students = {student.name: student for student in self.pack.students}
            for name in changes.pause:
                self._leave(students[name], info, is_paused=True)
            for name in changes.stop:
                if name in self.seated:
                    student = students[name]
                    student.state = "stopped"
                    self._leave(student, info)
                else:
                    self._end(name, self.paused.pop(name)["result"], step)
                    self.callback.absent.discard(name)
            failures = {each.name: reason for each in changes.join if (reason := self._join(each, step))}
            if not failures:
                break
            changes = self._combined(failures)
        self._untold = True

    def _combined(self, failures: Mapping[str, str]) -> Changes:
        made = [self._decide(lambda arms, name=name, why=why: arms.fail(name, why)) for name, why in failures.items()]
        return Changes(
            [name for each in made for name in each.pause],
            [name for each in made for name in each.stop],
            [joining for each in made for joining in each.join],
        )

    def _join(self, joining: Joining, step: int) -> str:
        """Build and seat an arm, alone in its failure: returns why it cannot join, or nothing. Collective."""
        student, reason = None, ""
        try:
            student = self._build(joining)
            if joining.epochs:
                self._restore_paused(student)
            else:
                tower = self.towers[self._spec(joining).backbone_key]
                load_start(student, self._spec(joining), tower)
            student.offset = step - joining.epochs * self.plan.steps_per_epoch
            self._held[joining.name] = self._try_step(student, self._spec(joining))
        except (Side4VideoError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:1000] or type(error).__name__
        reason = next((each for each in self.context.process.gather(reason) if each), "")
        before = self.paused.pop(joining.name, {})
        self.callback.absent.discard(joining.name)
        if reason or student is None:
            self._end(joining.name, {"state": "failed", "reason": reason}, step)
            self._joined.append(joining.name)
            return reason
        self._since[joining.name] = time.monotonic() - before.get("seconds", 0.0)
        self._seat(joining, student)
        self._joined.append(joining.name)
        return ""

    def _seat(self, joining: Joining, student: Student) -> None:
        self.seated[joining.name] = joining
        number = list(self.towers).index(self._spec(joining).backbone_key)
        for tower in list(self.towers.values())[len(self.pack.passes) : number + 1]:
            self.pack.passes.append(FrozenPass(partial(features_of_batch, tower), []))
        self.pack.passes[number].students.append(student)
        self.callback.constants[joining.name] = constant_metrics(student, self._held[joining.name])

    def _build(self, joining: Joining) -> Student:
        spec = self._spec(joining)
        check_consistency({"the pass": self.base, joining.name: spec})
        if spec.backbone_key not in self.towers:
            self.towers |= build_towers({joining.name: spec}, self.context.process, self.context.weights)
        return build_student(joining.name, spec, self.context.process, self.towers[spec.backbone_key])

    def _restore_paused(self, student: Student) -> None:
        """Give a student the state that it had when it was paused: the first worker's files, on every worker."""
        folder = self._kept(student.name)
        own = {file.name: file.read_bytes() for file in folder.iterdir()} if self.context.process.is_first else {}
        for name, content in self.context.process.gather(own)[0].items():
            if not self.context.process.is_first:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        restore_student(folder.parent, student)

    def _try_step(self, student: Student, spec: Experiment) -> int:
        """Bytes that a student holds for backward; out-of-memory and shape errors appear here."""
        tower = self.towers[spec.backbone_key]
        others = [tensor for each in self.pack.students for tensor in each.weights()]
        weights = [tensor for each in self.towers.values() for tensor in (*each.parameters(), *each.buffers())]
        alone = Pack.of_one_tower(partial(features_of_batch, tower), [student])
        held = dry_run(alone, mock_video(spec, self.context.process), resident=[*weights, *others])
        return held[student.name]

    # ---- small things

    def _spec(self, joining: Joining) -> Experiment:
        return parse_experiment(joining.experiment, source=joining.name)

    def _experiment_of(self, name: str) -> Experiment:
        return self._spec(self.seated[name])

    def _kept(self, name: str) -> Path:
        return self.context.scratch / "kept" / name

    def _moment(self, step: int) -> EpochInfo:
        return EpochInfo(
            max(0, step - 1) // self.plan.steps_per_epoch,
            step,
            is_last=False,
            steps=self.plan.steps,
            steps_per_epoch=self.plan.steps_per_epoch,
        )

    def _on_first(self, write: Callable[[], object]) -> None:
        def work() -> None:
            try:
                if self.context.process.is_first:
                    write()
            except OSError as error:
                raise cannot_write(self.context.scratch, error) from error

        self.context.process.run_on_all_workers(work)

    def _tell(self, step: int) -> None:
        self._untold = False
        if self.arms:
            epoch = step // self.plan.steps_per_epoch
            self.context.progress.report("seats", epoch=epoch, **self.arms.shown())
            left = self.arms.epochs_left() * self.plan.steps_per_epoch
            self.context.progress.begin(step + left, step)
