"""Where a call trains: in this process, or on a cluster."""

from side4video.core.arguments import check_text
from side4video.core.errors import InputError


def check_address(address: str, *, local: bool) -> None:
    """Check the address of a cluster, which a call that trains in this process would not look at.

    Raises:
        InputError: It is no text, or another one than the default beside `local=True`.
    """
    check_text("address", address, allowed="the address of a Ray cluster", fix='address="local"')
    if local and address != "local":
        fix = "add local=False to train on the cluster, or leave the address out"
        raise InputError("address", f"{address!r}, beside local=True", allowed="one of them", fix=fix)
