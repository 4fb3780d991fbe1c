"""The page of an imported model."""

from side4video.apps.imports.formats import ImportFormat
from side4video.core.text import escape_markdown, markdown_code
from side4video.data.annotations.tables import shorten_list
from side4video.spec.bundle import Bundle
from side4video.spec.experiment import Experiment

_CLASSIFIER = """model = side4video.load("this folder")
for found in model.predict(["a.mp4"]):
    print(found.video, found.labels)"""
_RETRIEVAL = """model = side4video.load("this folder", task="retrieval")
for found in model.search("a dog catches a ball", "videos"):
    print(found.video, found.score)"""


def import_card(bundle: Bundle, spec: Experiment, form: ImportFormat) -> str:
    """What a person should know of the model before using it, as Markdown."""
    origin = "".join(f"- {name}: {markdown_code(value)}\n" for name, value in bundle.origin.items() if value)
    classes = f"- classes ({len(bundle.classes)}): {escape_markdown(shorten_list(bundle.classes))}\n"
    return (
        f"# {escape_markdown(bundle.name)}\n\n"
        f"{escape_markdown(form.title)}: weights that its authors trained, imported into side4video. Their licence is "
        "the authors' own.\n\n"
        f"```python\nimport side4video\n\n{_CLASSIFIER if bundle.classes else _RETRIEVAL}\n```\n\n"
        f"## Where it comes from\n\n{origin}\n"
        f"- frames: {spec.data.frames} of {spec.data.size} x {spec.data.size} pixels\n"
        f"- backbone: fingerprint {markdown_code(bundle.backbone_sha256)}\n"
        f"{classes if bundle.classes else ''}\n"
        "side4video has not measured it.\n"
    )
