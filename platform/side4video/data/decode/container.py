"""Opens a video with PyAV: only formats that hold their frames themselves, only the file that was asked for."""

from typing import Any, Literal

from side4video.data.decode.video_source import BrokenClip, Source, as_file

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]
"""What decodes videos; `frames` chooses for `auto`."""
MAX_PIXELS = 2**25
"""Largest number of pixels of a frame: 8K video fits. A damaged header may declare a thousand times more."""

FORMATS = (  # noqa: SIM905 - a list takes seventy lines
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,mxf_opatom,nut,gxf,ivf,rm,wtv,"
    "dv,h261,h263,h264,hevc,vvc,av1,obu,vc1,dirac,mjpeg,gif,apng,swf,nsv,nuv,amv,bink,smk,roq,flic,film_cpk,4xm,pva,"
    "cavsvideo,avs2,avs3,ty,dhav,thp,vmd,wc3movie,mtv,ogv,vob,lxf,mlv,cine,ivr"
).split(",")
"""FFmpeg's names of the formats that are read. Playlists and manifests (HLS, DASH, concat, subtitles, image sequences)
are none of them: they make FFmpeg open other files."""


def open_container(source: Source) -> Any:
    """An input container of PyAV.

    Raises:
        FFmpegError: It is no video of a format in `FORMATS`, or it is damaged.
        ValueError: Likewise.
    """
    import av
    from av.error import ArgumentError, InvalidDataError

    try:
        return av.open(
            as_file(source),
            "r",
            # Names and titles of a file are not read; some are in no encoding at all.
            metadata_errors="ignore",
            options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"},
        )
    except ArgumentError as error:  # FFmpeg's answer to a format that is not in the list
        raise InvalidDataError(error.errno or 0, "its format is none of those that are read") from error


def video_stream(container: Any, path: str, origin: str) -> Any:
    """The first video stream that is not the cover picture of a music file, with a decoder of one thread.

    Raises:
        BrokenClip: There is none, or its frames are too large.
    """
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not bool(stream.disposition & Disposition.attached_pic)]
    if not streams:
        kind = "audio only" if container.streams.audio else "no audio or video in it"
        raise BrokenClip(path, origin, f"no video stream: {kind}", is_video=False)
    stream = streams[0]
    if (codec := stream.codec_context) is None:
        raise BrokenClip(path, origin, "its codec is not known")
    if codec.width * codec.height > MAX_PIXELS:
        raise BrokenClip(path, origin, f"its header claims frames of {codec.width} x {codec.height} pixels")
    stream.thread_type = "NONE"
    codec.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def error_text(error: Exception) -> str:
    """The last part of a decoder's message, on one line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:160] or type(error).__name__
