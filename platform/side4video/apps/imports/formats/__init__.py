"""The formats of checkpoints that can be imported, one file each."""

from side4video.apps.imports.formats.aim import AIM
from side4video.apps.imports.formats.atm import ATM
from side4video.apps.imports.formats.bike import BIKE
from side4video.apps.imports.formats.cap4video import CAP4VIDEO
from side4video.apps.imports.formats.clip2video import CLIP2VIDEO
from side4video.apps.imports.formats.clip4clip import CLIP4CLIP
from side4video.apps.imports.formats.dist import DIST
from side4video.apps.imports.formats.evl import EVL
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.side4video import SIDE4VIDEO
from side4video.apps.imports.formats.side4video_eva import SIDE4VIDEO_EVA, SIDE4VIDEO_EVA_RETRIEVAL
from side4video.apps.imports.formats.side4video_retrieval import SIDE4VIDEO_RETRIEVAL
from side4video.apps.imports.formats.st_adapter import ST_ADAPTER
from side4video.apps.imports.formats.stan import STAN
from side4video.apps.imports.formats.text4vis import TEXT4VIS
from side4video.apps.imports.formats.ts2_net import TS2_NET
from side4video.apps.imports.formats.uniformerv2 import UNIFORMERV2

FORMATS: tuple[ImportFormat, ...] = (
    SIDE4VIDEO,
    SIDE4VIDEO_RETRIEVAL,
    SIDE4VIDEO_EVA_RETRIEVAL,
    SIDE4VIDEO_EVA,
    ST_ADAPTER,
    AIM,
    EVL,
    DIST,
    CLIP2VIDEO,
    TS2_NET,
    CAP4VIDEO,
    CLIP4CLIP,
    TEXT4VIS,
    BIKE,
    UNIFORMERV2,
    ATM,
    STAN,
)
"""A file is of the first one whose mark it has: the marks of later ones may be in files of earlier ones."""
