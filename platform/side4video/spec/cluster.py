"""The section `cluster`: workers, reserved resources, decoding, checkpoints."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from side4video.core.bounds import Few, FewOrNone, PositiveOrNone
from side4video.core.spec import Spec, wrong


class DecodeBesideSpec(Spec):
    """Each training worker decodes on its own machine; see `data.loader`."""

    kind: Literal["beside"] = "beside"


class DecodeOnNodesSpec(Spec):
    """Ray Data decodes on any node with free cores, including nodes without GPUs. The batches are the same.

    Every node must be able to read the videos: use a shared folder, or an address such as `s3://bucket/clips`.
    """

    kind: Literal["ray-data"] = "ray-data"
    processes: Few = 2
    """Maximum number of decoding processes for each training worker."""
    cpus: Few = 1
    """CPU cores reserved for each decoding process."""
    resource: str = ""
    """Decode only on nodes that have this custom resource of Ray. For example `decoding`, for nodes that were started
    with `ray start --resources='{"decoding": 1}'`. Empty: on any node."""


Decoding = Annotated[DecodeBesideSpec | DecodeOnNodesSpec, Field(discriminator="kind")]


def _number_or_range(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """One error for both forms, instead of one for each."""
    try:
        return check(value)
    except ValidationError:
        raise wrong(
            "cluster.workers",
            repr(value),
            allowed="a whole number greater than 0, or two of them: [fewest, most]",
            fix="set it to 1",
        ) from None


Workers = Annotated[Few | tuple[Few, Few], WrapValidator(_number_or_range)]


class ClusterSpec(Spec):
    """The workers of one run, on the Ray cluster that the command is connected to."""

    workers: Workers = 1
    """Number of training processes. Each takes an equal share of every batch. Two numbers, [min, max], make the run
    elastic: it uses as many workers as the cluster has room for, and continues from the last checkpoint whenever nodes
    leave or join. The batch size does not change. If it is not divisible by the number of workers, shares differ by one
    video (by one pair, if clips are mixed)."""
    resize_minutes: PositiveOrNone = 5.0
    """An elastic run checks this often, in minutes, whether there is room for more workers. When workers are added, the
    steps since the last checkpoint are repeated."""
    cpus_per_worker: Few | Literal["auto"] = "auto"
    """CPU cores reserved for each worker; torch uses as many threads. `auto`: the cores of the machine or the cluster
    are shared out among the workers."""
    gpus_per_worker: PositiveOrNone | Literal["auto"] = "auto"
    """GPUs reserved for each worker, for example 1. `auto`: one for each worker if there are so many, else none. 0
    trains on the CPU, also where there are GPUs."""
    sync_batch_norm: bool = False
    """Compute batch norm statistics over all workers instead of for each worker (the authors do the latter). Needs
    GPUs."""
    decoding: Decoding = DecodeBesideSpec()
    """Where videos are decoded: on the machine of each worker, or anywhere in the cluster."""
    max_failures: FewOrNone = 1
    """Number of times a run is restarted from its last checkpoint after a worker or node fails."""
    checkpoint_minutes: PositiveOrNone = 15.0
    """Longest time between checkpoints, in minutes. Long epochs get checkpoints in between. 0: only at the end of each
    epoch."""
    step_timeout_minutes: PositiveOrNone = 30.0
    """A worker that makes no progress for this many minutes (no step, no evaluated batch, no message) is stopped and
    restarted (see `max_failures`). Before it stops, it writes the stack traces of all threads to its log. 0: no
    limit."""
    storage: str = ""
    """Folder or URI for checkpoints, for example `/shared/runs` or `s3://bucket/runs`; may contain ${NAME}. An absolute
    path is assumed to be shared by all nodes. Empty: the folder `runs` in `$SIDE4VIDEO_HOME`, which is assumed to be
    local to one machine."""
    keep_checkpoints: Few = 2
    """Number of checkpoints to keep in the storage: the newest ones."""

    @property
    def min_workers(self) -> int:
        """The smallest number of workers. Plans assume it, because shares of the batch are then largest."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def max_workers(self) -> int:
        """The largest number of workers."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change during a run."""
        return not isinstance(self.workers, int)

    @property
    def workers_text(self) -> str:
        """`4`, or `1 to 4`."""
        return f"{self.min_workers} to {self.max_workers}" if self.is_elastic else str(self.workers)

    @property
    def min_cpus(self) -> int:
        """CPU cores that a worker needs to train: of `auto`, one."""
        return 1 if self.cpus_per_worker == "auto" else self.cpus_per_worker

    @property
    def min_gpus(self) -> float:
        """GPUs that a worker needs to train: of `auto`, none."""
        return 0.0 if self.gpus_per_worker == "auto" else self.gpus_per_worker

    @property
    def decoding_cpus(self) -> int:
        """CPU cores reserved for decoding with Ray Data, for each worker."""
        return self.decoding.processes * self.decoding.cpus if self.decoding.kind == "ray-data" else 0

    @property
    def min_cpus_in_total(self) -> int:
        """CPU cores that a worker needs, for training and for decoding with Ray Data."""
        return self.min_cpus + self.decoding_cpus

    @model_validator(mode="after")
    def workers_are_a_range(self) -> Self:
        """The minimum is below the maximum."""
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
        """Torch supports synchronised batch norm on GPUs only."""
        if self.sync_batch_norm and self.gpus_per_worker == 0:
            raise wrong(
                "cluster.sync_batch_norm",
                "true with gpus_per_worker 0",
                allowed="true with GPUs only",
                fix="set it to false, or gpus_per_worker: 1",
            )
        return self
