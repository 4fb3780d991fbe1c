"""A trained model in use: exported to a folder, loaded again anywhere, asked what is to be seen in a video."""
