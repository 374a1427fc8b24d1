"""A program that draws numbers at random, as the package and the event loop do."""

import random
import sys

from trio._core import _run


def main() -> None:
    """Print one number of each generator."""
    sys.stdout.write(f"{random.random()} {_run._r.random()}\n")


if __name__ == "__main__":
    main()
