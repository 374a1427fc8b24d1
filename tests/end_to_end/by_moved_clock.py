"""The entry: `partitioner` by a moved clock. Its import changes the clocks of the process."""

from tests.end_to_end import moved_clock

moved_clock.measure_time_by_it()  # before anything is imported that measures time
main = moved_clock.main

if __name__ == "__main__":
    main()
