"""What the verbs do, a module for each; `partitioner.cli` holds their options, and imports these late.

So `--help` does not wait for what only a running verb needs, and no import is left to do when Ctrl-C may
interrupt.
"""
