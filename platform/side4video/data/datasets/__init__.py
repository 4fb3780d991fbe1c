"""The data sets: one file for each format. The union below lists all of them.

Each spec imports no torch and has `classes()`, `clips(split)`, `fingerprint()`, `flipped_classes()`, `paths()`,
`check()` and `prepare(progress)`. Decoding, sampling and augmentation are done elsewhere.
"""

from typing import Annotated

from side4video.core.kinds import ByKind
from side4video.core.plugin import PluginKinds
from side4video.data.datasets.activitynet_captions import ActivityNetCaptionsSpec
from side4video.data.datasets.captions import CaptionsSpec
from side4video.data.datasets.charades import CharadesSpec
from side4video.data.datasets.coin import CoinSpec
from side4video.data.datasets.didemo import DidemoSpec
from side4video.data.datasets.diving48 import Diving48Spec
from side4video.data.datasets.epic_kitchens import EpicKitchensSpec
from side4video.data.datasets.folder import FolderSpec
from side4video.data.datasets.hmdb51 import Hmdb51Spec
from side4video.data.datasets.hugging_face import HuggingFaceSpec
from side4video.data.datasets.jester import JesterSpec
from side4video.data.datasets.kinetics import KineticsSpec
from side4video.data.datasets.list import ListSpec
from side4video.data.datasets.lsmdc import LsmdcSpec
from side4video.data.datasets.moments_in_time import MomentsInTimeSpec
from side4video.data.datasets.motion import MotionSpec
from side4video.data.datasets.msr_vtt import MsrVttSpec
from side4video.data.datasets.msvd import MsvdSpec
from side4video.data.datasets.packed import PackedSpec
from side4video.data.datasets.something_something_v1 import SomethingSomethingV1Spec
from side4video.data.datasets.something_something_v2 import SomethingSomethingV2Spec
from side4video.data.datasets.ucf101 import Ucf101Spec
from side4video.data.datasets.vatex import VatexSpec
from side4video.data.datasets.webdataset import WebdatasetSpec

Dataset = Annotated[
    ListSpec
    | FolderSpec
    | KineticsSpec
    | SomethingSomethingV1Spec
    | SomethingSomethingV2Spec
    | Ucf101Spec
    | Hmdb51Spec
    | Diving48Spec
    | JesterSpec
    | MomentsInTimeSpec
    | CoinSpec
    | MotionSpec
    | CaptionsSpec
    | MsrVttSpec
    | MsvdSpec
    | VatexSpec
    | DidemoSpec
    | LsmdcSpec
    | ActivityNetCaptionsSpec
    | PackedSpec
    | WebdatasetSpec
    | HuggingFaceSpec
    | CharadesSpec
    | EpicKitchensSpec,
    ByKind(),
    PluginKinds("datasets"),
]

__all__ = [
    "ActivityNetCaptionsSpec",
    "CaptionsSpec",
    "CharadesSpec",
    "CoinSpec",
    "Dataset",
    "DidemoSpec",
    "Diving48Spec",
    "EpicKitchensSpec",
    "FolderSpec",
    "Hmdb51Spec",
    "HuggingFaceSpec",
    "JesterSpec",
    "KineticsSpec",
    "ListSpec",
    "LsmdcSpec",
    "MomentsInTimeSpec",
    "MotionSpec",
    "MsrVttSpec",
    "MsvdSpec",
    "PackedSpec",
    "SomethingSomethingV1Spec",
    "SomethingSomethingV2Spec",
    "Ucf101Spec",
    "VatexSpec",
    "WebdatasetSpec",
]
