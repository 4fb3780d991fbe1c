"""The torch side of the backbones: frozen image towers, and how their weights are read."""
