"""What a student is trained for: head, loss, scores and metrics. One document a task."""

from side4video.tasks.recognition import RecognitionSpec

Task = RecognitionSpec
