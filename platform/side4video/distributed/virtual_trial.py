"""A virtual trial: the Ray Tune trial of one arm. It trains nothing and reports the metrics of its student.

It reserves no CPU or GPU and does not import torch. The pack that trains the student has the resources.
"""

from typing import Any

import ray
from ray import tune


class VirtualTrial(tune.Trainable):
    """Reports one evaluated epoch per step. Ray Tune reuses its process for the next arm."""

    def setup(self, config: dict[str, Any]) -> None:
        """Find the results actor. Without an arm in the configuration, the driver assigns one later."""
        self.index = 0
        self.results_actor: Any = ray.get_actor(config["results_actor"])
        self.channel: str = config.get("arm") or ""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002 - Ray's signature
        """The position of a trial whose arm is paused."""
        return {"index": self.index, "channel": self.channel}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from there."""
        if checkpoint:
            self.index, self.channel = checkpoint["index"], checkpoint["channel"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switch to another arm."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the arm's next result and report it."""
        self.channel = self.channel or ray.get(self.results_actor.channel_of.remote(self.trial_id))
        result: dict[str, Any] = ray.get(self.results_actor.next.remote(self.channel, self.index))
        self.index += 1
        if result.get("state") == "failed" or (result["done"] and result["epoch"] == 0):
            raise RuntimeError(result["reason"] or "the arm ended before its first evaluation")
        return result
