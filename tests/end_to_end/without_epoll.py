"""`partitioner` as on a system that has no epoll: the await lane serves alone."""

from partitioner.net.express import lane


def main() -> None:
    """The same as the console script. What asks whether there is epoll must be imported after it is gone."""
    lane.IS_AVAILABLE = False
    from partitioner.cli import run

    run()


if __name__ == "__main__":
    main()
