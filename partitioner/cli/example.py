"""`partitioner example`: print the reference configuration, or another file that comes with the package."""

import click

from partitioner.signals import interruptible


@click.command()
@click.option("--list", "as_list", is_flag=True, help="Print the name of each example, and what it is.")
@click.argument("name", metavar="[NAME]", default="partitioner.yml")
def example(name: str, as_list: bool) -> None:
    """Print the reference configuration, or the example NAME.

    The reference configuration explains every key with its default. The other examples are small
    configurations, systemd units, and files for keepalived, Prometheus and Grafana; --list names them.

    `partitioner example > partitioner.yml` begins a configuration.
    """
    from partitioner.cli.actions.example import list_examples, print_example

    interruptible(list_examples if as_list else lambda: print_example(name))
