"""`partitioner` as on a system that has no epoll: the slow path serves alone."""

from partitioner.fastpath import task

task.IS_AVAILABLE = False  # before anything is imported that asks


def main() -> None:
    """The same as the console script."""
    from partitioner.__main__ import run

    run()


if __name__ == "__main__":
    main()
