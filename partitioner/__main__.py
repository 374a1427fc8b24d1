"""`python -m partitioner`: the same as the console script."""

from partitioner.cli import main

if __name__ == "__main__":
    main()
