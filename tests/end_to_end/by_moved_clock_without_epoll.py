"""The entry: `partitioner` by a moved clock, as on a system that has no epoll."""

import tests.end_to_end.by_moved_clock
import tests.end_to_end.without_epoll  # changes what is imported after it, as the one before does

main = tests.end_to_end.by_moved_clock.main

if __name__ == "__main__":
    main()
