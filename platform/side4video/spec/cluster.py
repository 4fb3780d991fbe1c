"""Where and on what an experiment runs."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from side4video.core.spec import Spec, wrong


class DecodeBesideSpec(Spec):
    """The machine of each training worker decodes for it; see `data.loader`."""

    kind: Literal["beside"] = "beside"


class DecodeOnNodesSpec(Spec):
    """Ray Data decodes wherever the cluster has cores, on nodes without GPUs too; the batches are the same.

    Videos must be where every node can read them: in a shared folder, or at an address such as `s3://bucket/clips`.
    """

    kind: Literal["ray-data"] = "ray-data"
    processes: PositiveInt = 2
    """Decoding processes of each training worker, at most."""
    cpus: PositiveInt = 1
    """Cores reserved for each."""
    resource: str = ""
    """A custom resource of the nodes that may decode, as `ray start --resources='{"decoding": 1}'` gives them one;
    empty: any node."""


Decoding = Annotated[DecodeBesideSpec | DecodeOnNodesSpec, Field(discriminator="kind")]


def _number_or_range(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """One complaint for both forms, in place of one for each."""
    try:
        return check(value)
    except ValidationError:
        raise wrong(
            "cluster.workers",
            repr(value),
            allowed="a whole number greater than 0, or two of them: [fewest, most]",
            fix="set it to 1",
        ) from None


Workers = Annotated[PositiveInt | tuple[PositiveInt, PositiveInt], WrapValidator(_number_or_range)]


class ClusterSpec(Spec):
    """The workers of one run, on whatever Ray cluster the command is connected to."""

    workers: Workers = 1
    """Training processes; each takes an equal share of every batch. Two numbers, [fewest, most]: as many as the cluster
    has room for, fewer when a node goes and more when one comes, each time from the last checkpoint. The batch stays
    what it is; where it does not divide, shares differ by one video (by a pair, where clips are mixed in pairs)."""
    resize_minutes: NonNegativeFloat = 5.0
    """How often an elastic run looks whether there is room for more workers; what it did since its last checkpoint is
    then done again."""
    cpus_per_worker: PositiveInt = 1
    """Cores reserved for a worker, and the threads that torch uses in it."""
    gpus_per_worker: NonNegativeFloat = 0.0
    """GPUs reserved for a worker: 0 trains on the CPU."""
    sync_batch_norm: bool = False
    """Batch statistics over all workers instead of each worker's own (the authors' code: own). Needs GPUs."""
    decoding: Decoding = DecodeBesideSpec()
    """Where videos are decoded."""
    max_failures: NonNegativeInt = 1
    """How often a run is restarted from its last checkpoint when a worker or node dies."""
    checkpoint_minutes: NonNegativeFloat = 15.0
    """The longest time without a checkpoint: within a long epoch one is written too. 0: at the ends of epochs only."""
    step_timeout_minutes: NonNegativeFloat = 30.0
    """A worker that takes no step, evaluates no batch and says nothing for so long writes all its threads' stacks into
    its log and ends, to be started again (`max_failures`). 0: it may hang for ever."""
    storage: str = ""
    """Folder or URI for checkpoints, shared by all nodes: one that is given here by its absolute path counts as shared.
    Empty: `runs` in the platform's home, which counts as one machine's own. May hold ${NAME}."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """How many of the newest checkpoints stay in the storage."""

    @property
    def min_workers(self) -> int:
        """With how many a run goes on; what is planned is planned for these, whose shares are the largest."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def max_workers(self) -> int:
        """How many there are where the cluster has room."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def is_elastic(self) -> bool:
        """Whether workers come and go."""
        return not isinstance(self.workers, int)

    @property
    def workers_text(self) -> str:
        """`4`, or `1 to 4`."""
        return f"{self.min_workers} to {self.max_workers}" if self.is_elastic else str(self.workers)

    @property
    def cpus_per_worker_in_total(self) -> int:
        """Those that are reserved for one, for training and for decoding elsewhere."""
        beside = self.decoding.processes * self.decoding.cpus if self.decoding.kind == "ray-data" else 0
        return self.cpus_per_worker + beside

    @model_validator(mode="after")
    def workers_are_a_range(self) -> Self:
        """The fewest come first."""
        if self.is_elastic and self.min_workers >= self.max_workers:
            raise wrong(
                "cluster.workers",
                f"[{self.min_workers}, {self.max_workers}]",
                allowed="a number, or [fewest, most] with fewest below most",
                fix=f"set it to {self.min_workers}, or to [{self.max_workers}, {self.min_workers}]"
                if self.min_workers > self.max_workers
                else f"set it to {self.min_workers}",
            )
        return self

    @model_validator(mode="after")
    def sync_batch_norm_needs_gpus(self) -> Self:
        """Torch has synchronised batch norm for GPUs only."""
        if self.sync_batch_norm and not self.gpus_per_worker:
            raise wrong(
                "cluster.sync_batch_norm",
                "true with gpus_per_worker 0",
                allowed="true with GPUs only",
                fix="set it to false, or gpus_per_worker: 1",
            )
        return self
