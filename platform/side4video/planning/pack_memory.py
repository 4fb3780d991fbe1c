"""Memory of a pack, from what its students take alone.

While one student runs, the others hold their weights and their optimizers' state, and the tokens that they read of
the frozen pass; nothing else of theirs is there. So a pack's peak is the largest student's peak, and these beside it.
Two things differ from a student alone: it lets go of the tokens before its backward, and in a pack others still read
them; and the pass runs once for all, as deep as the deepest reader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import torch

from side4video.core.units import GIB
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import entry_layouts
from side4video.planning.plan import ExperimentPlan
from side4video.spec.experiment import Experiment
from side4video.planning.packs import Member, PackMemory, plan_pack_memory, _peak_bytes, _depth, _optimizer_bytes, _idle_bytes, _own_token_bytes, _token_bytes


















