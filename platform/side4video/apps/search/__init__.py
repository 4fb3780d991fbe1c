"""Search a folder of videos by text."""
