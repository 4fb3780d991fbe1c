"""The classifier of an imported model that is made of the classes' names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from side4video.apps.imports.pairs import Reading
from side4video.apps.imports.tower import OPTION, GivenTower
from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.backbones.weights import FileWeights
from side4video.spec.experiment import Experiment
from side4video.tasks.recognition.spec import RecognitionSpec, SpottingClassifier, TextClassifier

if TYPE_CHECKING:
    from side4video.models.backbones.backbone_spec import BackboneSpec

_ALLOWED = "a file of a whole CLIP, or MODEL/TAG of open_clip, such as ViT-L-14-quickgelu/openai"


def text_section(reading: Reading, given: GivenTower) -> dict[str, Any]:
    """The section `backbone.text` of a model whose file has no text tower: of the CLIP that is given.

    Raises:
        InputError: None is given, it has no text tower, or its texts are of another width than the file's features.
    """
    fix = "name the CLIP that the model was trained from"
    if not given.backbone:
        found = "not given, and the checkpoint does not hold the text tower that reads the classes' names"
        raise InputError(OPTION, found, allowed=_ALLOWED, fix=fix)
    if not given.text:
        raise InputError(OPTION, "it has no text tower of CLIP's form", allowed=_ALLOWED, fix=fix)
    width, wanted = given.tensors["proj"].shape[1], reading.backbone["output_dim"]
    if width != wanted:
        found = f"its texts have {width} channels, and the file's features {wanted}"
        raise InputError(OPTION, found, allowed="the CLIP that the model was trained from", fix=fix)
    return dict(given.text)


def text_classifier(
    state: Mapping[str, Tensor],
    reading: Reading,
    spec: Experiment,
    *,
    classes: Sequence[str],
    given: GivenTower,
    scratch: Path,
) -> dict[str, Tensor]:
    """The tensors of the classifier: what the text tower of the file, or the given one, makes of the class names.

    Raises:
        InputError: The document has another classifier.
    """
    classifier = spec.task.classifier if isinstance(spec.task, RecognitionSpec) else None
    kind = reading.task["classifier"]["kind"]
    if not isinstance(classifier, TextClassifier | SpottingClassifier) or classifier.kind != kind:
        raise InputError("--set task.classifier", "of another kind", allowed=f"{{kind: {kind}}}", fix="leave it out")
    has_words = isinstance(classifier, SpottingClassifier)
    prompts = [classifier.prompt.replace("{}", name) for name in classes]
    texts = _reader(state, reading, spec, given, scratch).encode_texts(prompts, with_words=has_words)
    head = "head." if has_words else "head.1."
    made = {
        f"{head}features_CE": F.normalize(texts.features_CE.float(), dim=-1).contiguous(),
        f"{head}logit_scale": texts.logit_scale.float().clone(),
    }
    if texts.words_CWE is not None:
        made[f"{head}words_CWE"] = F.normalize(texts.words_CWE.float(), dim=-1).contiguous()
    of_file = {pair.ours for pair in reading.student}
    return {name: tensor for name, tensor in made.items() if name not in of_file}


def _reader(
    state: Mapping[str, Tensor], reading: Reading, spec: Experiment, given: GivenTower, scratch: Path
) -> "BackboneSpec":
    """A backbone whose text tower has weights."""
    file = given.file
    if reading.texts:
        file = scratch / "texts.safetensors"
        save_file({ours: state[theirs].float().contiguous() for ours, theirs in reading.texts.items()}, file)
    if file is None:
        return OpenCLIPSpec.model_validate(given.backbone)
    return spec.backbone.model_copy(update={"weights": FileWeights(path=str(file))})
