"""A virtual trial: one Ray Tune trial an arm, which trains nothing and reports what its student measured.

It asks for no core and no GPU and never imports torch; the pack that holds the student has both.
"""

from typing import Any

import ray
from ray import tune


class VirtualTrial(tune.Trainable):
    """Reports one evaluated epoch a step, and takes the next arm when its arm has ended."""

    def setup(self, config: dict[str, Any]) -> None:
        """Find the hub; the arm is in the configuration, or the driver will say which one it is."""
        self.index = 0
        self.results_actor: Any = ray.get_actor(config["hub"])
        self.channel: str = config.get("arm") or ""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Stand for another arm: a process serves many, one after another."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The arm's next result, when its turn has come."""
        self.channel = self.channel or ray.get(self.results_actor.channel_of.remote(self.trial_id))
        result: dict[str, Any] = ray.get(self.results_actor.next.remote(self.channel, self.index))
        self.index += 1
        if result.get("state") == "failed" or (result["done"] and result["epoch"] == 0):
            raise RuntimeError(result["reason"] or "the arm ended before its first evaluation")
        return result
