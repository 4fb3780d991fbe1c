"""`search` reads each video of a folder for a limited time."""

from types import SimpleNamespace

from side4video.apps.search import command
from side4video.core.progress import SILENT
from side4video.inference.video_folder import VideoFile


class Encoder:
    """Notes how videos are read."""

    limits: tuple[float, ...] = ()

    def identity(self):
        return {}

    def embed_videos(self, folder, files, *, prefetch):
        self.limits += (prefetch.keywords["limit_seconds"],)
        return iter(())


def test_the_limit_reaches_the_reader(tmp_path):
    encoder = Encoder()
    files = [VideoFile("a.mp4", 1, 1)]
    kept = (str(tmp_path / "index"), "best", 7.0)
    command._refresh(encoder, SimpleNamespace(identity="a" * 32), (tmp_path, files), kept, SILENT)
    assert encoder.limits == (7.0,)
    (option,) = [each for each in command.search.params if each.name == "video_seconds"]
    assert option.default == 120
