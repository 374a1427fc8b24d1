"""`partitioner man`: the manual page, from the same source as every --help."""

import click


@click.command()
def man() -> None:
    """Print the manual page of the program, with all its verbs, as roff.

    Example: partitioner man > /usr/local/share/man/man1/partitioner.1
    """
    from partitioner.cli.actions.man import manual

    click.echo(manual(click.get_current_context().find_root()), nl=False)
