"""Units and number formats."""

GIB = 1024**3
MIB = 1024**2
GIGA = 10**9


def as_gib(bytes_count: float) -> float:
    """Bytes as GiB."""
    return bytes_count / GIB


def format_bytes(bytes_count: float) -> str:
    """`1.50 GiB`, `12.0 MiB`, `800 B`."""
    for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if bytes_count >= size:
            return f"{bytes_count / size:.2f} {unit}" if bytes_count < 10 * size else f"{bytes_count / size:.1f} {unit}"
    return f"{int(bytes_count)} B"


def format_count(count: float) -> str:
    """A large count with its unit: `175.7 G`, `126.2 M`, `520`."""
    for size, unit in ((GIGA, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f}"


def format_duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
