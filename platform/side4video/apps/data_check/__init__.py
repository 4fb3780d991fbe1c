"""Check a data set: its lists against its files, and a sample of its clips decoded."""
