"""How the verbs find the router: `--admin`, else $PARTITIONER_ADMIN, else `-c FILE`, else the default."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from partitioner.cli import main
from partitioner.cli.router_option import admin_option
from tests.cli.test_http_client import listening
from tests.ops.admin.pages import backend_report
from tests.tables import each_case


@click.command()
@admin_option
def echo_url(url: str) -> None:
    """Print where the router would be asked."""
    click.echo(url)


@each_case(
    ("arguments", "variable", "admin", "url"),
    [
        ([], None, "10.0.0.5:9425", "http://127.0.0.1:9424"),
        (["-c", "FILE"], None, "10.0.0.5:9425", "http://10.0.0.5:9425"),
        (["-c", "FILE"], None, "'[::1]:9425'", "http://[::1]:9425"),
        (["-c", "FILE"], None, "0.0.0.0:9425", "http://localhost:9425"),
        (["-c", "FILE"], "http://a:1", "10.0.0.5:9425", "http://a:1"),
        (["-c", "FILE", "--admin", "b:2"], "http://a:1", "10.0.0.5:9425", "b:2"),
        (["--admin", "b:2", "-c", "FILE"], None, "10.0.0.5:9425", "b:2"),
    ],
)
def test_where_the_router_is(
    arguments: list[str], variable: str | None, admin: str, url: str, tmp_path: Path
) -> None:
    """The first of these that is given counts, in whatever order the options stand."""
    file = tmp_path / "partitioner.yml"
    file.write_text(
        f"admin: {admin}\nadmin_token: 0123456789abcdef0123\nbackends: [{{name: a, address: 'a:1'}}]\n"
    )
    given = [str(file) if each == "FILE" else each for each in arguments]
    ended = CliRunner().invoke(echo_url, given, env={"PARTITIONER_ADMIN": variable})

    assert f"{url}\n" == ended.output


def test_a_wrong_file_is_exit_2(tmp_path: Path) -> None:
    """It is the command line that is wrong; nobody is asked."""
    ended = CliRunner().invoke(main, ["status", "-c", str(tmp_path / "nowhere.yml")])

    assert 2 == ended.exit_code
    assert "there is no file" in ended.stderr


@each_case("arguments", [["drain"], ["status", "--safe-to-stop"]])
def test_names_of_servers_are_completed(arguments: list[str]) -> None:
    """By the router that is meant; where none answers there is nothing to offer."""
    body = json.dumps({"backends": [asdict(backend_report(name)) for name in ("state-1", "other")]}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with listening(answer=answer) as there:
        url = f"http://127.0.0.1:{there.port}"
        offered = _completions(["--admin", url], arguments)
    offered_by_nobody = _completions(["--admin", url], arguments)

    assert (["state-1"], []) == (offered, offered_by_nobody)


def _completions(options: list[str], arguments: list[str]) -> list[str]:
    verb, *rest = arguments
    completing = ShellComplete(main, {}, "partitioner", "_PARTITIONER_COMPLETE")
    return [each.value for each in completing.get_completions([verb, *options, *rest], "st")]
