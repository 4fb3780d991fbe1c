"""`python -m side4video`: the command line."""

from side4video.cli.main import main

main()
