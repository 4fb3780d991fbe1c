"""A file of predictions is whole, or the one that was there before."""

import pytest

from side4video.tasks.recognition import class_scores


class Stops(Exception):
    """Stands for a full disk or a stop."""


@pytest.mark.parametrize("method", ["write_predictions", "write_views"])
def test_what_was_there_is_kept_when_writing_stops(method, tmp_path, monkeypatch):
    def stops(file):
        file.write("half of a")
        file.flush()
        raise Stops

    monkeypatch.setattr(class_scores.csv, "writer", stops)
    file = tmp_path / "predictions.csv"
    file.write_text("of before")
    result = type("Result", (), {"rows": object()})()
    with pytest.raises(Stops):
        getattr(class_scores.ClassEvaluation, method)(result, file)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("predictions.csv", "of before")]
