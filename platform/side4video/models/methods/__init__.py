"""One document per method. A new method is a file here, a network of the same name, and a member of the union."""

from typing import Annotated

from side4video.core.kinds import ByKind
from side4video.core.plugin import PluginKinds
from side4video.models.methods.aim import AIMSpec
from side4video.models.methods.atm import ATMSpec
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.methods.bike import BIKESpec, FrozenBIKESpec
from side4video.models.methods.cap4video import Cap4VideoSpec, FrozenCap4VideoSpec
from side4video.models.methods.clip2video import CLIP2VideoSpec, FrozenCLIP2VideoSpec
from side4video.models.methods.clip4clip import CLIP4ClipSpec, FrozenCLIP4ClipSpec
from side4video.models.methods.clip_prompt import CLIPPromptSpec
from side4video.models.methods.cross_modal_adapter import CrossModalAdapterSpec
from side4video.models.methods.dist import DiSTSpec
from side4video.models.methods.evl import EVLSpec
from side4video.models.methods.full import FullSpec
from side4video.models.methods.gated_recurrence import GatedRecurrenceSpec
from side4video.models.methods.linear import LinearSpec
from side4video.models.methods.lst import LSTSpec
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.methods.st_adapter import STAdapterSpec
from side4video.models.methods.stan import STANSpec, TrainedSTANSpec
from side4video.models.methods.text4vis import FrozenText4VisSpec, Text4VisSpec
from side4video.models.methods.ts2_net import TS2NetSpec
from side4video.models.methods.uniadapter import UniAdapterSpec
from side4video.models.methods.uniadapter_blip import UniAdapterBLIPSpec
from side4video.models.methods.uniformerv2 import FrozenUniFormerV2Spec, UniFormerV2Spec
from side4video.models.methods.vjepa_probe import VJEPAProbeSpec
from side4video.models.methods.zero_shot import ZeroShotSpec

Method = Annotated[
    Side4VideoSpec
    | STAdapterSpec
    | AIMSpec
    | EVLSpec
    | DiSTSpec
    | FullSpec
    | LSTSpec
    | AttentiveSpec
    | LinearSpec
    | VJEPAProbeSpec
    | GatedRecurrenceSpec
    | Text4VisSpec
    | FrozenText4VisSpec
    | ATMSpec
    | UniFormerV2Spec
    | FrozenUniFormerV2Spec
    | CLIP4ClipSpec
    | FrozenCLIP4ClipSpec
    | CrossModalAdapterSpec
    | UniAdapterSpec
    | UniAdapterBLIPSpec
    | CLIPPromptSpec
    | STANSpec
    | TrainedSTANSpec
    | BIKESpec
    | FrozenBIKESpec
    | CLIP2VideoSpec
    | FrozenCLIP2VideoSpec
    | TS2NetSpec
    | Cap4VideoSpec
    | FrozenCap4VideoSpec
    | ZeroShotSpec,
    ByKind(),
    PluginKinds("methods"),
]
