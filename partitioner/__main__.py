"""`python -m partitioner`: the same as the console script."""

from partitioner.cli import run

if __name__ == "__main__":
    run()
