"""The console script, and `python -m partitioner`: signals come first, before anything else is imported."""

import os
import sys


def run() -> None:
    """Run the verb that the command line names."""
    try:
        from partitioner.signals import prepare

        prepare(sys.argv[1:])
    except KeyboardInterrupt:  # in these few milliseconds it is still Python's own
        os._exit(130)
    from partitioner.cli import run as run_verb

    run_verb()


if __name__ == "__main__":
    run()
