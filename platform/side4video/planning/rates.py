"""The rates that estimates of time assume where none is given."""

SUSTAINED_TERAFLOPS = 120.0
"""Default TFLOP/s of a GPU: a vision transformer of these sizes in bf16 on an A100, about 40% of its peak of 312."""
DISK_GIGABYTES_PER_SECOND = 1.0
"""Default read rate for all workers together, GB/s: a good network disk, or half a solid-state disk."""
