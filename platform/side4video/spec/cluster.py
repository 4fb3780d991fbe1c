"""Where and on what an experiment runs."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

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


class ClusterSpec(Spec):
    """The workers of one run, on whatever Ray cluster the command is connected to."""

    workers: PositiveInt = 1
    """Training processes; each takes an equal share of every batch."""
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
    def cores(self) -> int:
        """Those that are reserved, for training and for decoding elsewhere."""
        beside = self.decoding.processes * self.decoding.cpus if self.decoding.kind == "ray-data" else 0
        return self.workers * (self.cpus_per_worker + beside)

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
