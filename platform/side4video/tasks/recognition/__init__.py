"""Action recognition: the task's spec, head, loss, scores and metrics."""
