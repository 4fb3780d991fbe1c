"""Where and on what an experiment runs."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from side4video.core.spec import Spec, wrong


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
    max_failures: NonNegativeInt = 1
    """How often a run is restarted from its last checkpoint when a worker or node dies."""
    storage: str = ""
    """Folder or URI for checkpoints, shared by all nodes; empty: `runs` in the platform's home. May hold ${NAME}."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """How many of the newest checkpoints stay in the storage."""

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
