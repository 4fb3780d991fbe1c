"""The YAML document of an experiment: all settings that its result depends on."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from side4video.core.bounds import Seed
from side4video.core.errors import InputError
from side4video.core.metric import MetricSpec
from side4video.core.paths import absolute_path, near_path
from side4video.core.plugin import LoadedPlugin, active_plugins
from side4video.core.spec import ADDED_LATER, Spec, wrong
from side4video.data.features import ComputedFeaturesSpec, Features, training_draws
from side4video.data.features.spec import SUGGESTED_VIEWS
from side4video.data.spec import DataSpec
from side4video.models.backbones import Backbone
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.methods import Method
from side4video.plugins.loading import PluginSpec, load_plugins
from side4video.spec.cluster import ClusterSpec
from side4video.spec.digest import experiment_digest
from side4video.spec.evaluation import EvaluationSpec
from side4video.spec.optimization import OptimizationSpec
from side4video.spec.reads import check_reads
from side4video.spec.start import StartSpec
from side4video.spec.texts import check_texts
from side4video.spec.tracking import MLflowTrackingSpec, Tracking
from side4video.tasks import Task
from side4video.tasks.recognition.spec import RecognitionSpec

SCHEMA_VERSION = 1


class Experiment(Spec):
    """One training run: a frozen backbone, a method, a data set, and a task."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of the document format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] = "experiment"
    """Name of the experiment and of its run: letters, digits, dot, dash and underscore."""
    plugins: Annotated[tuple[PluginSpec, ...], ADDED_LATER] = ()
    """Python files or modules with data sets, methods, transforms and metrics of one's own: `[my_parts.py]`. They are
    loaded only if the command line allows them (`--plugin my_parts.py`)."""
    task: Task = RecognitionSpec()
    """What the model learns. Default: recognition."""
    backbone: Backbone
    """The frozen image model and its weights."""
    method: Method
    """The network that is trained beside the frozen backbone."""
    data: DataSpec
    """The clips, and how they are turned into frames."""
    features: Features = ComputedFeaturesSpec()
    """Whether the features of the frozen backbone are computed in each step, or read from disk."""
    optimization: OptimizationSpec = OptimizationSpec()
    """Optimizer, batch size, number of epochs and learning rate."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """When and how the model is evaluated."""
    cluster: ClusterSpec = ClusterSpec()
    """Workers, GPUs and checkpoints."""
    tracking: Tracking = MLflowTrackingSpec()
    """Where metrics and artifacts are stored."""
    start: Annotated[StartSpec | None, ADDED_LATER] = None
    """Weights to start from, of an exported or imported folder; with `trains: false` they are evaluated and not trained
    (a fixed arm of a sweep)."""
    seed: Seed = 0
    """Seed of the initial weights and of dropout. The data path has its own seed (`data.seed`)."""

    @model_validator(mode="before")
    @classmethod
    def some_sections_have_a_default_kind(cls, document: Any) -> Any:
        """Without a `kind`, a task is recognition and runs are stored in MLflow."""
        if not isinstance(document, Mapping):
            return document
        defaults = {"task": "recognition", "tracking": "mlflow"}
        sections = {name: document.get(name) for name in defaults}
        missing = {
            name: {"kind": defaults[name], **section}
            for name, section in sections.items()
            if isinstance(section, Mapping) and "kind" not in section
        }
        return {**document, **missing}

    @model_validator(mode="wrap")
    @classmethod
    def plugins_extend_the_unions(cls, document: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Load the plug-ins that the document names. Their kinds are allowed in it, and in no other document."""
        entries = document.get("plugins") if isinstance(document, Mapping) else None
        if not entries:
            return check(document)
        if not isinstance(entries, list | tuple):
            raise wrong("plugins", f"{entries!r}", allowed="a list", fix=f"plugins: [{entries}]")
        try:
            written, loaded = load_plugins(entries)
        except InputError as error:
            raise wrong(error.where, error.found, allowed=error.allowed, fix=error.fix) from error
        with active_plugins(loaded):
            return check({**document, "plugins": written})

    @property
    def loaded_plugins(self) -> list[LoadedPlugin]:
        """The plug-ins that the document names."""
        return load_plugins([each.model_dump() for each in self.plugins])[1]

    @property
    def plugin_metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics that plug-ins add to those of the task."""
        if self.task.kind not in ("recognition", "retrieval"):
            return ()
        kind = f"{self.task.kind}_metrics"
        return tuple(metric for each in self.loaded_plugins for metric in getattr(each.plugin, kind))

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics of an evaluation: the task's, and those of plug-ins."""
        return (*self.task.metrics, *self.plugin_metrics)

    @property
    def tower(self) -> TowerShape:
        """Sizes of the backbone: depth, width, image size."""
        return self.backbone.shape()

    def weights_identity(self) -> str:
        """A name for the weights that training starts from: the backbone's, and those of `start`.

        Raises:
            InputError: A file of them is not there.
        """
        backbone = self.backbone.weights.identity()
        return backbone if self.start is None else f"{backbone}+start:{self.start.identity()}"

    @property
    def backbone_key(self) -> str:
        """Equal for experiments that can share one frozen tower."""
        return json.dumps(self.backbone.model_dump(mode="json"), sort_keys=True)

    @model_validator(mode="after")
    def method_is_defined_for_the_task(self) -> Self:
        """The method supports the task."""
        if self.task.method_output not in self.method.tasks:
            raise wrong(
                "method.kind",
                f"{self.method.kind}, and the task is {self.task.kind}",
                allowed=f"for {self.method.kind}: {', '.join(self.method.tasks)}",
                fix="take another method (`side4video list methods`), or another task",
            )
        return self

    @model_validator(mode="after")
    def method_fits_the_tower_and_the_data(self) -> Self:
        """The method reads only blocks that the tower has, accepts the frames, and finds what else it reads."""
        check_reads(self)
        return self

    @model_validator(mode="after")
    def method_supports_the_classifier(self) -> Self:
        """A method that trains nothing, or whose features are made for texts, has no linear classifier."""
        kind, allowed = getattr(getattr(self.task, "classifier", None), "kind", "linear"), self.method.classifiers
        if self.task.kind in ("multi-label", "multi-head") and kind not in allowed:
            raise wrong(
                "method.kind",
                f"{self.method.kind}, and the classifiers of {self.task.kind} are linear",
                allowed="methods with a linear classifier (`side4video list methods`)",
                fix="take another method, or task: {kind: recognition}",
            )
        if self.task.kind == "recognition" and kind not in allowed:
            own = {
                "text": 'set task.classifier to {kind: text, prompt: "a video of {}"}',
                "spotting": "set task.classifier to {kind: spotting} and task.label_smoothing to 0",
                "linear": "set task.classifier to {kind: linear}",
            }[allowed[0]]
            reason = "classifies with texts" if "linear" not in allowed else "gives one feature of a clip"
            raise wrong(
                "task.classifier",
                f"{kind}, and the method {self.method.kind} {reason}",
                allowed=f"for {self.method.kind}: {', '.join(allowed)}",
                fix=f"{own}, or take {'another method' if 'linear' in allowed else 'the method linear'}",
            )
        return self

    @model_validator(mode="after")
    def layer_decay_has_layers(self) -> Self:
        """Only some methods say how deep their parameters are."""
        if self.optimization.layer_decay != 1.0 and not self.method.has_layer_depths:
            raise wrong(
                "optimization.layer_decay",
                f"{self.optimization.layer_decay:g}, and the method {self.method.kind} does not train layer by layer",
                allowed="1, or a method whose layers can learn at different rates (atm)",
                fix="set it to 1",
            )
        return self

    @model_validator(mode="after")
    def texts_can_be_read(self) -> Self:
        """Retrieval, or a text classifier, fits the backbone's text tower, the method and the data."""
        check_texts(self)
        return self

    @model_validator(mode="after")
    def method_supports_the_precision(self) -> Self:
        """Weights that are trained need full precision, because small updates are lost in half precision or 8 bits."""
        allowed = self.method.tower_precisions
        if self.backbone.precision not in allowed:
            raise wrong(
                "backbone.precision",
                f"{self.backbone.precision}, and the method {self.method.kind} trains the tower's weights",
                allowed=", ".join(allowed),
                fix=f"set it to {allowed[0]}",
            )
        return self

    @model_validator(mode="after")
    def frames_have_the_towers_size(self) -> Self:
        """Frames have the size that the tower's position embeddings are for."""
        if self.data.size != self.tower.image_size:
            raise wrong(
                "data.size",
                f"{self.data.size} pixels, and the backbone takes {self.tower.image_size}",
                allowed=str(self.tower.image_size),
                fix=f"set data.size to {self.tower.image_size}{self._other_image_size()}",
            )
        return self

    def _other_image_size(self) -> str:
        """How the backbone could take frames of `data.size`, where it can."""
        fits = "image_size" in type(self.backbone).model_fields and self.data.size % self.tower.patch_size == 0
        return f", or backbone.image_size to {self.data.size}" if fits else ""

    @model_validator(mode="after")
    def batch_divisible_by_workers(self) -> Self:
        """Every worker and every part of a batch gets the same number of videos, unless the run is elastic."""
        parts = self.cluster.max_workers * self.optimization.accumulation
        if self.cluster.is_elastic and self.optimization.batch_size >= parts:
            return self
        if self.optimization.batch_size % parts:
            nearest = max(parts, round(self.optimization.batch_size / parts) * parts)
            raise wrong(
                "optimization.batch_size",
                f"{self.optimization.batch_size} videos do not divide over "
                f"{self.cluster.workers_text} workers x {self.optimization.accumulation} parts",
                allowed=f"{parts} or more" if self.cluster.is_elastic else f"multiples of {parts}",
                fix=f"set it to {nearest}",
            )
        return self

    @model_validator(mode="after")
    def mixed_clips_are_labeled_pairs(self) -> Self:
        """Mixing clips needs labels, an even number of clips in each part, and new pairs in each epoch."""
        kind = self.data.augmentation.mix.kind
        if kind == "none":
            return self
        if self.task.kind != "recognition":
            raise wrong(
                "data.augmentation.mix",
                f"{kind}, and the task is {self.task.kind}: a mixed clip has no "
                + ("text of its own" if self.task.kind == "retrieval" else "one label"),
                allowed="{kind: none}; mixing for the task recognition",
                fix="set data.augmentation.mix to {kind: none}",
            )
        if self.features.pool is not None:
            pool = "kept on disk" if self.features.kind == "cached" else f"those of {self.features.pool} views"
            raise wrong(
                "features",
                f"{pool}, and {kind} mixes a clip with another one in each epoch, whose features together are new",
                allowed="{kind: computed, views: endless}, or data.augmentation.mix: {kind: none}",
                fix="set features to {kind: computed}",
            )
        parts = self.cluster.max_workers * self.optimization.accumulation
        videos = self.optimization.batch_size
        if videos % 2 or videos < 2 * parts if self.cluster.is_elastic else videos // parts % 2:
            raise wrong(
                "optimization.batch_size",
                f"{videos} videos make {videos // parts} for each of {self.cluster.workers_text} workers x "
                f"{self.optimization.accumulation} parts, and {kind} mixes clips in pairs",
                allowed=f"even numbers, {2 * parts} or more"
                if self.cluster.is_elastic
                else f"multiples of {2 * parts}",
                fix=f"set it to {max(2 * parts, videos - parts)}",
            )
        return self

    @model_validator(mode="after")
    def cached_features_repeat_every_epoch(self) -> Self:
        """Cached features need a tower that does not change, and a finite number of versions of each clip."""
        if self.features.kind != "cached":
            return self
        if not self.method.packable:
            raise wrong(
                "features.kind",
                f"cached, and the method {self.method.kind} changes the tower, whose features would not stay true",
                allowed="{kind: computed}, or a method that only reads frozen tokens (`side4video list methods`)",
                fix="set features to {kind: computed}",
            )
        draws = [*training_draws(self.data), *(["captions"] if self.task.kind == "retrieval" else [])]
        if self.features.views == "auto" and draws:
            raise wrong(
                "features.views",
                f"not given, and training clips differ from epoch to epoch ({', '.join(draws)}): only so many "
                "versions of each can be kept",
                allowed="a number of versions, or a data section that draws nothing",
                fix=f"views: {SUGGESTED_VIEWS}",
            )
        return self

    @model_validator(mode="after")
    def ray_data_decoding_has_no_local_cache(self) -> Self:
        """Cached frames and features are made on the worker's own machine, so they exclude decoding with Ray Data."""
        if self.cluster.decoding.kind == "beside":
            return self
        for field, kept in (
            ("features.kind", self.features.kind == "cached"),
            ("data.loader.epochs_per_decode", self.data.loader.epochs_per_decode > 1),
        ):
            if kept:
                raise wrong(
                    "cluster.decoding",
                    f"{self.cluster.decoding.kind}, and {field} keeps what a worker's own machine has decoded",
                    allowed="{kind: beside}",
                    fix=f"set cluster.decoding to {{kind: beside}}, or {field} to its default",
                )
        return self

    @model_validator(mode="after")
    def frame_cache_needs_one_worker(self) -> Self:
        """Cached frames need a single worker: in the next epoch a clip usually goes to another worker."""
        if self.data.loader.epochs_per_decode > 1 and self.cluster.max_workers > 1:
            raise wrong(
                "data.loader.epochs_per_decode",
                f"{self.data.loader.epochs_per_decode} with {self.cluster.workers_text} training workers, which do "
                "not share the frames that wait",
                allowed="1, or one worker",
                fix="set it to 1",
            )
        return self

    @property
    def reads(self) -> FeatureRequest:
        """The features that the method reads from the tower for this task."""
        # A classifier in the texts' space reads what retrieval reads.
        task = "retrieval" if getattr(self.task, "projects_to_texts", False) else self.task.method_output
        return self.method.feature_request(self.tower, frames=self.data.frames, task=task)

    @property
    def clips_per_part(self) -> int:
        """Clips that one worker processes at a time, including repeated sampling.

        This is its share of one part of the batch. In an elastic run, the share with the smallest number of workers.
        """
        unit = 2 if self.data.augmentation.mixes_clips else 1
        parts = self.cluster.min_workers * self.optimization.accumulation * unit
        return -(-self.optimization.batch_size // parts) * unit * self.data.repeated_sampling

    def resolved(self) -> dict[str, Any]:
        """The whole document with all defaults, as JSON values."""
        return self.model_dump(mode="json")

    def shared(self) -> dict[str, Any]:
        """The settings that experiments of one pack must share: all that the batches depend on.

        Backbones may differ, unless their features are cached.
        """
        whole = self.resolved()
        optimization = {key: whole["optimization"][key] for key in ("batch_size", "accumulation", "length")}
        data = {key: value for key, value in whole["data"].items() if key not in ("loader", "recipe")}
        cluster = {key: whole["cluster"][key] for key in ("workers", "gpus_per_worker")}
        kept = {key: whole[key] for key in ("evaluation", "features", "plugins")}
        shared = {**kept, "data": data, "optimization": optimization, "cluster": cluster}
        return shared | ({"backbone": whole["backbone"]} if self.features.kind == "cached" else {})

    def digests(self, *, ignore_workers: bool = False) -> tuple[str, ...]:
        """All digests under which a run of this experiment may be stored, `digest()` first.

        The others are of its paths as they are written, as in version 0.1.0, and of absolute paths.
        """
        spellings = (near_path, str, absolute_path)
        return tuple(dict.fromkeys(self.digest(ignore_workers=ignore_workers, spell=spell) for spell in spellings))

    def digest(self, *, ignore_workers: bool = False, spell: Callable[[str], str] = near_path) -> str:
        """SHA-256 of all that can change the result, sources of plug-ins included. It identifies the experiment.

        Args:
            ignore_workers: Leave out the number of workers, because batches do not depend on it. For resuming with
                more or fewer workers.
            spell: How paths are spelled. By default relative and absolute paths of one file are one.
        """
        return experiment_digest(self, ignore_workers=ignore_workers, spell=spell)
