"""From a data set to a folder of shards: what goes where, who encodes it, what is there already.

Shards are tar archives of videos, each beside a small JSON file of its own, as WebDataset reads them.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from side4video.apps.data_pack.encode import Encoding, Job, write_video
from side4video.core.errors import InputError
from side4video.core.files import replacing, write_atomically
from side4video.core.progress import Progress
from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.clip import Clip, Split
from side4video.data.manifest import CLIPS, MANIFEST, Manifest, Shard, clip_record, read_clips, read_manifest
from side4video.data.spec import DataSpec
from side4video.data.storage import byte_range, common_root, read_bytes, relative_path
from side4video.data.tar_members import list_members, shard_name

PACKING = "packing videos"
PLAN, FILES = "plan.json", ".files"


@dataclass(frozen=True)
class Video:
    """A file of the data set, each once however many clips it has."""

    clip: Clip
    """Its first clip, without span, forward."""
    name: str
    """Its path below the common folder of its split."""
    member: str
    """Its name in the shard."""


@dataclass(frozen=True)
class Packed:
    """What was done."""

    manifest: Manifest
    clips: int
    videos: int
    encoded: int
    """Of the videos, those that were written now; others were there from before."""


@dataclass(frozen=True)
class Packing:
    """What is written where, and how."""

    data: DataSpec
    folder: Path
    encoding: Encoding
    pool: WorkerPool
    progress: Progress

    def fill(self, path: Path, videos: Sequence[Video], *, before: int, total: int) -> int:
        """Encode the videos of a shard and write it; how many had to be encoded.

        Raises:
            InputError: One cannot be decoded, and may not be left out.
        """
        scratch = self.folder / FILES
        scratch.mkdir(exist_ok=True)
        missing = {video.member: video for video in videos if not (scratch / video.member).is_file()}
        jobs = [Job(video.clip, self.encoding, str(scratch / member)) for member, video in missing.items()]
        broken: dict[str, str] = {}
        known = before + len(videos) - len(jobs)
        limit = self.data.loader.timeout_seconds
        for done, (job, found) in enumerate(self.pool.map_unordered(write_video, jobs, limit_seconds=limit), 1):
            if reason := found.reason if isinstance(found, JobFailed) else found.broken:
                broken[Path(job.target).name] = reason
                if self.data.broken_clips.kind == "raise":
                    raise InputError(
                        job.clip.origin or job.clip.path,
                        f"the clip {job.clip.path} cannot be decoded: {reason}",
                        fix="repair or remove it, or set data.broken_clips: {kind: skip}; the same command continues",
                    )
            self.progress.report(PACKING, known + done, total)
        classes = self.data.dataset.classes()
        write_shard(
            path,
            [
                (video.member, scratch / video.member, _metadata(video, classes, broken.get(video.member, "")))
                for video in videos
            ],
        )
        for video in videos:
            (scratch / video.member).unlink(missing_ok=True)
        return len(jobs)


def repack(packing: Packing, *, files: int) -> Packed:
    """Write a data set into shards; what an interrupted packing finished is not done again.

    `files` is the number of videos of a shard.

    Raises:
        InputError: The data set is wrong, too many videos cannot be decoded, or the folder is of another packing.
    """
    packing.progress.report("reading the lists")
    dataset = packing.data.dataset
    splits: dict[Split, Sequence[Clip]] = {split: dataset.clips(split) for split in dataset.splits()}
    shards = plan_shards(splits, files, suffix="" if packing.encoding.codec == "copy" else ".mp4")
    source = dataset.fingerprint()
    _check_plan(packing.folder, {"source": source, "encoding": asdict(packing.encoding), "files": files})
    before, encoded, total = 0, 0, sum(map(len, shards.values()))
    if (packing.folder / MANIFEST).is_file():  # and not written anew: it would vouch for whatever the shards hold now
        manifest = read_manifest(str(packing.folder))
        clips = len(read_clips(str(packing.folder), manifest))
        return Packed(manifest, clips, total - len(manifest.left_out), 0)
    packing.progress.report(PACKING)
    sealed: list[Shard] = []
    addresses: dict[str, str] = {}
    left_out: list[dict[str, str]] = []
    for name, videos in shards.items():
        path = packing.folder / name
        if not path.is_file():
            encoded += packing.fill(path, videos, before=before, total=total)
        before += len(videos)
        packing.progress.report(PACKING, before, total)
        members = {member.name: member.address for member in list_members(str(path))}
        addresses |= {video.clip.path: members[video.member] for video in videos if video.member in members}
        left_out += [_unreadable(video, members) for video in videos if video.member not in members]
        _check_cap(left_out, total, packing.data)
        sealed.append(_shard_of(packing.folder, path))
    mirrored, mirrored_heads = dataset.flipped_classes(), dataset.flipped_heads()
    records = [record for split, clips in splits.items() for record in _records(clips, split, addresses)]
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    manifest = Manifest(
        source=source,
        encoding=asdict(packing.encoding),
        classes=dataset.classes(),
        mirrored=None if mirrored is None else {str(label): other for label, other in mirrored.items()},
        shards=tuple(sealed),
        clips_sha256=hashlib.sha256(text.encode()).hexdigest(),
        left_out=tuple(left_out),
        heads={name: list(names) for name, names in dataset.heads().items()},
        mirrored_heads=None
        if mirrored_heads is None
        else [{str(old): new for old, new in each.items()} for each in mirrored_heads],
    )
    for name, content in ((CLIPS, text), (MANIFEST, manifest.as_text())):
        write_atomically(packing.folder / name, content)
    shutil.rmtree(packing.folder / FILES, ignore_errors=True)
    return Packed(manifest, len(records), total - len(left_out), encoded)


def plan_shards(splits: Mapping[Split, Sequence[Clip]], files: int, *, suffix: str) -> dict[str, list[Video]]:
    """The videos of each shard, by its name: each file once, in the order of the lists.

    `files` is the number of videos of a shard. Without a `suffix`, the name of a member ends as that of its file.
    """
    shards: dict[str, list[Video]] = {}
    seen: set[str] = set()
    for split, clips in splits.items():
        root = common_root([clip.path for clip in clips])
        first: dict[str, Clip] = {}
        for clip in clips:
            first.setdefault(clip.path, clip)
        new = [clip for path, clip in first.items() if path not in seen]
        seen |= first.keys()
        for number, clip in enumerate(new):
            name = clip.name or relative_path(clip.path, root)
            ending = suffix or Path(name).suffix or ".mp4"
            whole = replace(clip, start_seconds=None, end_seconds=None, reversed=False)
            video = Video(whole, name, f"{split}-{number:08d}{ending}")
            shards.setdefault(shard_name(split, number // files), []).append(video)
    return shards


def verify(folder: Path, manifest: Manifest, progress: Progress) -> list[str]:
    """What is wrong with the shards of a folder, by their sizes and hashes; nothing if they are as written."""
    progress.report("verifying shards")
    wrong = []
    for done, shard in enumerate(manifest.shards, 1):
        path = folder / shard.name
        if not path.is_file():
            wrong.append(f"{path}: there is no such shard")
        elif describe_shard(path) != shard:
            wrong.append(f"{path}: not the bytes that were written")
        progress.report("verifying shards", done, len(manifest.shards))
    return wrong


def _check_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Begin or go on in a folder; another packing's is refused."""
    place = folder / PLAN
    text = json.dumps(plan, indent=1, sort_keys=True) + "\n"
    if place.is_file():
        before = json.loads(place.read_text(encoding="utf-8"))
        if differing := sorted(key for key in plan if before.get(key) != plan[key]):
            named = {"source": "the data set", "encoding": "how videos are written", "files": "--files-per-shard"}
            raise InputError(
                str(folder),
                f"it holds shards of another packing: {', '.join(named[key] for key in differing)} differs",
                fix="name another folder, or remove this one",
            )
        return
    if folder.is_dir() and not all(path.match(f".{PLAN}.*.partial") for path in folder.iterdir()):
        raise InputError(str(folder), "the folder is not empty", fix="name a new one")
    write_atomically(place, text)


def _shard_of(folder: Path, path: Path) -> Shard:
    """The seal of a shard as it was when it was written; it is kept for the packing that goes on after this one."""
    place = folder / FILES / f"{path.name}.json"
    if place.is_file():
        return Shard(**json.loads(place.read_text(encoding="utf-8")))
    found = describe_shard(path)
    write_atomically(place, json.dumps(asdict(found)))
    return found


def _metadata(video: Video, classes: Sequence[str], broken: str) -> dict[str, Any]:
    """What a video's JSON file says: for readers of WebDataset, and why it is not there."""
    clip = video.clip
    about: dict[str, Any] = {"name": video.name}
    if clip.label is not None:
        about |= {"label": clip.label, "class": classes[clip.label] if clip.label < len(classes) else ""}
    if clip.captions:
        about["captions"] = list(clip.captions)
    return about | ({"broken": broken, "path": clip.path, "origin": clip.origin} if broken else {})


def _unreadable(video: Video, members: Mapping[str, str]) -> dict[str, str]:
    about = read_member(members[f"{Path(video.member).stem}.json"])
    return {key: str(about.get(key, "")) for key in ("path", "origin", "broken")}


def _check_cap(left_out: Sequence[dict[str, str]], total: int, data: DataSpec) -> None:
    if data.broken_clips.kind == "skip" and len(left_out) > data.broken_clips.cap * total:
        raise InputError(
            "data.broken_clips",
            f"{len(left_out)} of {total} videos cannot be decoded, the last one {left_out[-1]['path']}: "
            f"{left_out[-1]['broken']}",
            allowed=f"{data.broken_clips.cap:.2%} of the videos (cap: {data.broken_clips.cap:g})",
            fix="repair or remove them, or raise the cap; the same command continues",
        )


def _records(clips: Sequence[Clip], split: Split, addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    root = common_root([clip.path for clip in clips])
    records = []
    for clip in clips:
        if (address := addresses.get(clip.path)) and (part := byte_range(address)):
            shard = Path(address.rpartition("?")[0]).name
            name = clip.name or relative_path(clip.path, root)
            records.append(clip_record(clip, split, shard=shard, extent=part, name=name))
    return records


def write_shard(path: Path, members: Iterable[tuple[str, Path, dict[str, Any]]]) -> None:
    """An archive of videos, whole or not at all; the same bytes for the same members.

    Args:
        path: The archive.
        members: Of each video its name in the archive, its file, and what its JSON file says. A video whose file is
            not there is left out; its JSON file says why.
    """
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, file, about in members:
            text = json.dumps(about, ensure_ascii=False).encode()
            if file.is_file():
                with file.open("rb") as content:
                    archive.addfile(_info(name, file.stat().st_size), content)
            archive.addfile(_info(f"{name.rpartition('.')[0]}.json", len(text)), io.BytesIO(text))


def read_member(address: str) -> dict[str, Any]:
    """What a JSON file of a shard says."""
    return dict(json.loads(read_bytes(address)))


def describe_shard(path: Path) -> Shard:
    """Name, size and SHA-256 of a shard."""
    with path.open("rb") as file:
        return Shard(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644  # no time and no owner: they would differ from one packing to the next
    return info
