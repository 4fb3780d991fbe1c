"""Text-video retrieval: the task's spec, matching, loss, ranks and metrics."""
