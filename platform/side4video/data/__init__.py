"""From annotation files to batches of uint8 frames: data sets, decoding, sampling, augmentation, streams."""
