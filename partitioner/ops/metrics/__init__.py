"""What can be measured: one table of metrics, the integers behind them, and how they are scraped.

catalog.py       the table: names, kinds, labels, and what they tell
counters.py      counts facts
lag.py           watches the event loop
readings.py, router_readings.py    the numbers of one moment, from the counters and from whatever keeps them
process.py       those of the process, from the operating system
collector.py     from readings to the families of the client library
exposition.py    from families to a page of text
reference.py     the table as a document, conf/metrics.md
"""
