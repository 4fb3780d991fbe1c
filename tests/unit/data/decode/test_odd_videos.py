"""Videos as people have them: written by old encoders, cut off, turned while they were recorded, or made to deceive."""

from fractions import Fraction
from importlib.util import find_spec

import av
import numpy as np
import pytest

from numbered_videos import RATE, Recipe, decoded_plainly, number_of, numbered_frame, write, write_packed_b_frames
from side4video.data.decode.frames import check_span, decode_frames
from side4video.data.decode.video_index import read_index
from side4video.data.decode.video_source import BrokenClip

DECODERS = ["pyav", *(name for name in ("decord", "torchcodec") if find_spec(name))]


def read(path, choose=range, **fields):
    return [number_of(frame_HWC) for frame_HWC in decode_frames(str(path), choose, **fields)[0]]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("frames", "group"), [(41, 12), (60, 8), (33, 250), (7, 3)])
def test_packed_b_frames_stand_in_the_order_in_which_they_are_shown(tmp_path, frames, group, decoder):
    path = write_packed_b_frames(tmp_path / "packed.avi", frames, group)
    truth = decoded_plainly(path)
    assert truth == list(range(frames))
    assert read(path, decoder=decoder) == truth
    for wanted in (np.linspace(0, frames - 1, 5).astype(int), range(frames - 4, frames), [frames // 2]):
        assert read(path, lambda _, wanted=wanted: wanted, decoder=decoder) == [truth[position] for position in wanted]
    assert read(path, decoder=decoder, start_seconds=0.09, end_seconds=0.21) == [3, 4, 5]


def test_packets_of_packed_b_frames_tell_no_frames(tmp_path):
    """The broken twin: the times that FFmpeg makes up for the packets are in another order, and there are more."""
    path = write_packed_b_frames(tmp_path / "packed.avi")
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    with av.open(str(path)) as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    assert shown != sorted(shown) or len(times) != len(shown)
    assert read_index(str(path)).is_decoded


def annex_b(codec, sizes, frames=12):
    """Packets of a stream whose frames change size, each part with its own parameter sets."""
    packets, number = [], 0
    for height, width in sizes:
        encoder = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, RATE), Fraction(RATE), 6
        encoder.thread_count = 1
        encoder.options = {"preset": "veryfast", "bf": "0", "qp": "16"} if codec == "libx264" else {"deadline": "good"}
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, height, width), format="rgb24")
            frame.pts = number
            packets += encoder.encode(frame)
            number += 1
        packets += encoder.encode()
    return packets


def write_changing(path, codec, container, sizes):
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.height, stream.width = sizes[0]
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "bf": "0"}
        for number, packet in enumerate(annex_b(codec, sizes)):
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            file.mux(packet)
    return path


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("codec", "container"),
    [("libvpx", "webm"), ("libvpx", "matroska"), ("libvpx-vp9", "webm"), ("libx264", "mpegts"), ("libx264", "mp4")],
)
def test_a_size_that_changes_is_brought_to_the_first_one(tmp_path, codec, container, decoder):
    path = write_changing(tmp_path / "turned", codec, container, [(64, 96), (96, 64)])
    truth = decoded_plainly(path, size=(64, 96))
    assert len(truth) == 24
    for wanted in (range(24), [2, 14], [20], range(10, 15)):
        found, info = decode_frames(str(path), lambda _, wanted=wanted: wanted, decoder=decoder)
        assert found.shape[1:3] == (64, 96)
        assert info.total_frames == 24
        assert [number_of(frame_HWC) for frame_HWC in found] == [truth[position] for position in wanted]


@pytest.mark.parametrize("tag", [b"FERIEN \xfcBUNGEN", b"\xff\xfe\x00\xd8", b"\x80" * 14])
def test_a_title_in_any_encoding_is_left_alone(tmp_path, tag):
    path = tmp_path / "titled.mp4"
    with av.open(str(path), "w", format="mp4") as file:
        file.metadata["title"] = "#" * len(tag)
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number, 48, 64), format="rgb24")))
        file.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"#" * len(tag), tag))
    for decoder in DECODERS:
        assert read(path, decoder=decoder) == list(range(10))


CUT = {
    "faststart": Recipe("mp4", "libx264", container_options={"movflags": "faststart"}),
    "with B-frames": Recipe("mp4", "libx264", b_frames=2, container_options={"movflags": "faststart"}),
    "in fragments": Recipe("mp4", "libx264", container_options={"movflags": "frag_keyframe+empty_moov"}),
    "matroska": Recipe("matroska", "libx264", b_frames=2),
    "avi": Recipe("avi", "mpeg4", b_frames=2),
    "transport stream": Recipe("mpegts", "libx264", b_frames=2),
}


@pytest.mark.parametrize("share", [0.99, 0.97, 0.95, 0.93, 0.6])
@pytest.mark.parametrize("kind", CUT)
def test_a_tail_that_is_missing_is_refused_for_every_draw_or_for_none(tmp_path, kind, share):
    path = write(CUT[kind], tmp_path / "video")
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share)])
    draws = (range, lambda total: [total - 1], lambda total: [0], lambda total: [total // 2, total - 1])
    try:
        check_span(str(path))
    except BrokenClip:
        for choose in draws:
            with pytest.raises(BrokenClip, match=r"^list\.csv:3: the clip"):
                decode_frames(str(path), choose, origin="list.csv:3")
        return
    truth = decoded_tolerantly(path)
    assert read(path) == truth == sorted(truth)  # the frames that are there, in order
    for choose in draws:
        assert read(path, choose) == [truth[position] for position in choose(len(truth))]


@pytest.mark.parametrize("kind", ["faststart", "matroska"])
def test_a_packet_that_is_damaged_leaves_the_other_frames(tmp_path, kind):
    path = write(CUT[kind], tmp_path / "video")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    raw = bytearray(path.read_bytes())
    at = raw.index(bytes(packets[14]))
    raw[at : at + packets[14].size] = bytes(packets[14].size)
    path.write_bytes(raw)
    truth = decoded_tolerantly(path)
    assert len(truth) >= 38
    assert read(path) == truth
    assert read(path, lambda total: [total - 1]) == [39]


def decoded_tolerantly(path):
    """As FFmpeg does: a packet that cannot be decoded is passed over."""
    numbers = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                numbers += [number_of(frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
            except av.error.InvalidDataError:
                continue
    return numbers


def with_hidden_frames(source, target, container, every):
    """The same VP8 video, in which some frames are stored once more, as frames that are not shown (show_frame is 0)."""
    with av.open(str(source)) as file, av.open(str(target), "w", format=container) as written:
        stream = written.add_stream_from_template(file.streams.video[0])
        stream.time_base = Fraction(1, 1000)
        for number, packet in enumerate(packet for packet in file.demux(video=0) if packet.size):
            data = bytes(packet)
            versions = [data]
            if number % every == every - 1 and data[0] & 1:  # no key frame
                versions.append(bytes([data[0] & ~16]) + data[1:])
            for later, version in enumerate(versions):
                copy = av.Packet(version)
                copy.stream, copy.time_base = stream, Fraction(1, 1000)
                copy.pts = copy.dts = 40 * number + 20 * later
                copy.is_keyframe = packet.is_keyframe and not later
                written.mux(copy)
    return target


@pytest.mark.parametrize(("container", "every"), [("webm", 4), ("webm", 2), ("matroska", 7), ("ivf", 5)])
def test_frames_that_are_never_shown_are_not_counted(tmp_path, container, every):
    plain = write(Recipe("webm", "libvpx", group=15), tmp_path / "plain")
    path = with_hidden_frames(plain, tmp_path / "video", container, every)
    with av.open(str(path)) as file:
        assert sum(bool(packet.size) for packet in file.demux(video=0)) > 40
    truth = decoded_plainly(path)
    assert len(truth) == len(read_index(str(path))) == 40
    for decoder in DECODERS:
        assert read(path, decoder=decoder) == truth
        assert read(path, lambda total: [total - 2, total - 1], decoder=decoder) == truth[-2:]


MANIFESTS = {
    "DASH": b'<?xml version="1.0"?>\n<MPD><Period><AdaptationSet><Representation id="1"><BaseURL>file://%s</BaseURL>'
    b"</Representation></AdaptationSet></Period></MPD>",
    "DASH in Latin-1": b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<!-- \xe4\xf6\xfc\xdf -->\n<MPD><Period>'
    b"<AdaptationSet><Representation><BaseURL>file://%s</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://%s\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '%s'\n",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 0 RTP/AVP 96\na=file:%s\n",
    "playlist": b"[playlist]\nFile1=%s\nNumberOfEntries=1\n",
    "Smooth Streaming": b"<SmoothStreamingMedia><StreamIndex Url='%s'/></SmoothStreamingMedia>",
}


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video"])
@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_file_that_names_other_files_is_no_video(tmp_path, kind, name):
    secret = write(Recipe("mp4", "libx264"), tmp_path / "secret.mp4")
    path = tmp_path / name
    path.write_bytes(MANIFESTS[kind] % str(secret).encode())
    for decoder in DECODERS:
        with pytest.raises(BrokenClip, match=r"names other files|no video|text file|web page|Invalid data") as caught:
            decode_frames(str(path), range, decoder=decoder, origin="list.csv:3")
        assert not caught.value.is_video


@pytest.mark.parametrize(
    "head", [b"RIFF\x00\x10\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00", b"fLaC\x00\x00\x00\x22"]
)
def test_a_format_that_is_not_read_is_no_video(tmp_path, head):
    path = tmp_path / "sound.mp4"
    path.write_bytes(head + bytes(5000))
    with pytest.raises(BrokenClip, match=r"its format is none of those that are read|no video|Invalid data") as caught:
        read_index(str(path), "list.csv:3")
    assert not caught.value.is_video


@pytest.mark.parametrize("name", ["12:30.mp4", "http:clip.mp4", "file:clip.mp4", "data:video,clip", "?#%20.mp4"])
def test_a_name_with_a_colon_is_a_name(tmp_path, monkeypatch, name):
    write(Recipe("mp4", "libx264"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for decoder in DECODERS:
        assert read(name, decoder=decoder) == list(range(40))
