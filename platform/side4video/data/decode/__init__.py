"""From a video file to the frames of a clip: index, decoders, sampling, transforms."""
