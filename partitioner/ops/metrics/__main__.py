"""`python -m partitioner.ops.metrics > conf/metrics.md`: what can be measured, as a document."""

import sys

from partitioner.ops.metrics.reference import reference

sys.stdout.write(reference())
