"""What can be measured: one table of metrics, the integers behind them, and how they are scraped.

    catalog.py            the table: names, kinds, labels, and what they tell
    counters.py           counts facts
    store_counters.py     counts facts about an engine
    application_sizes.py  how large the sessions of each application are
    lag.py                watches the event loop
    readings.py           the numbers of one moment, from the counters and from whatever keeps them
    router_readings.py    those of a router
    sums.py               those of several processes at one port, added up
    process.py            those of the process, as families
    process_numbers.py    those of the process, from the operating system
    collector.py          from readings to the families of the client library
    exposition.py         from families to a page of text
    reference.py          the table as a document, conf/metrics.md

A new metric needs a line of the table, a counter and its reading.
"""
