"""Checks that the Python driver of a PostgreSQL store is installed, before anything starts."""

import os
from importlib.util import find_spec
from urllib.parse import urlsplit

from side4video.core.errors import InputError
from side4video.spec.tracking import MLflowTrackingSpec, Tracking, is_postgresql

_DRIVERS = {
    "": ("psycopg", "side4video[postgresql]"),
    "psycopg": ("psycopg", "side4video[postgresql]"),
    "psycopg2": ("psycopg2", "psycopg2-binary"),
}
"""By the name after the `+` of an address: the module and the package to install. psycopg is SQLAlchemy's default."""


def check_database_driver(uri: str, *, where: str) -> None:
    """Check that the driver of a PostgreSQL address is installed here. Nothing is imported.

    Raises:
        InputError: It is not. `where` names the field, variable or option with the address.
    """
    if not is_postgresql(uri):
        return
    driver = urlsplit(uri).scheme.partition("+")[2]
    module, package = _DRIVERS.get(driver, (driver, driver))
    if find_spec(module) is None:
        found = f"PostgreSQL needs the Python package {module}, which is not installed here"
        raise InputError(where, found, fix=f"pip install '{package}'")


def check_store_driver(tracking: Tracking) -> None:
    """Check that the driver of a spec's store is installed; without an address it is that of MLFLOW_TRACKING_URI.

    Raises:
        InputError: It is not.
    """
    if isinstance(tracking, MLflowTrackingSpec):
        where = "tracking.uri" if tracking.uri else "MLFLOW_TRACKING_URI"
        check_database_driver(tracking.uri or os.environ.get(where, ""), where=where)
