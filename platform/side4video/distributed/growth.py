"""Clusters that grow: who adds machines when work waits for them, and what there may come to be."""

import json
from collections.abc import Mapping
from typing import Any

MACHINE_SECONDS = "1200"
"""How long workers wait for machines of a cluster that grows: a cloud's need minutes to come up."""

_STATUS = b"__autoscaling_status"
"""Where Ray's autoscaler says in each round what it sees."""

_FIXED = "node_"
"""How it calls kinds of machines where it may only look."""


def may_grow(ray: Any) -> bool:
    """Whether somebody adds machines to the connected cluster when work waits for them."""
    if most_known(ray):
        return True
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    # Of the second autoscaler, which is KubeRay's, nothing else is said; the first one tells it by the kinds' names.
    return is_autoscaler_v2(fetch_from_server=True) or names_kinds(_internal_kv_get(_STATUS))


def names_kinds(status: bytes | None) -> bool:
    """Whether an autoscaler's status speaks of kinds of machines that somebody defined."""
    try:
        report = json.loads(status or b"{}").get("autoscaler_report", {})
    except ValueError:
        return False
    kinds = [*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()]
    return any(not kind.startswith(_FIXED) for kind in kinds)


def most_known(ray: Any) -> Mapping[str, float]:
    """The most that a cluster may come to have, where it says so."""
    # Ray Train asks the same place before it waits for machines; there is no public one.
    return dict(ray._private.state.state.get_max_resources_from_cluster_config() or {})


def most_resources(ray: Any) -> dict[str, float]:
    """What the cluster has, or may come to have."""
    has = dict(ray.cluster_resources())
    for name, most in most_known(ray).items():
        has[name] = max(has.get(name, 0), most)
    return has
