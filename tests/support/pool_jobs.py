"""Jobs for processes of a worker pool; they live here because a new process must be able to import them."""

import os
import time

from side4video.apps.doctor.finding import Finding, ok
from side4video.core.errors import InputError


def double(number: int) -> int:
    return 2 * number


def process_of(number: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def die_on_seven(number: int) -> int:
    if number == 7:
        os._exit(9)
    return 2 * number


def hang_on_seven(number: int) -> int:
    if number == 7:
        time.sleep(1000)
    return 2 * number


def refuse_seven(number: int) -> int:
    if number == 7:
        raise InputError("data.decoder", "seven", allowed="other numbers")
    return number


def stumble_on_seven(number: int) -> int:
    return 1 // (number - 7)


def check_by_name(name: str) -> Finding:
    """A check of `doctor` that hangs on `Ray` and dies on `PyAV`."""
    if name == "Ray":
        time.sleep(1000)
    if name == "PyAV":
        os._exit(9)
    return ok(f"{name} is well")
