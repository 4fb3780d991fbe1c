"""The command line with steps that take a while, so that a test can act while it trains."""

SLOWLY = """
import sys, time
import side4video.engine.loop as loop
from side4video.cli.main import main
train, pause = loop.train_step, float(sys.argv.pop(1))
def slowly(*arguments, **options):
    time.sleep(pause)
    return train(*arguments, **options)
loop.train_step = slowly
main()
"""
"""For `python -c`; the first argument is the pause in seconds."""
