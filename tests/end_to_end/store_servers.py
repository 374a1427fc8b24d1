"""State servers whose sessions are on an engine, as processes."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.processes import CONFIGURATION, PARTITIONER, Program, kept_port, running


@contextmanager
def store_server(url: str, *arguments: str, module: str = PARTITIONER) -> Iterator[tuple[Program, int]]:
    """A state server whose sessions are on the engine at this URL, and its port."""
    with ExitStack() as stack:
        port = stack.enter_context(kept_port())
        listen = ("--listen", f"127.0.0.1:{port}")
        program = stack.enter_context(
            running("state-server", *listen, "--store", url, *arguments, module=module)
        )
        program.wait_for(r"state server on 127\.0\.0\.1:[0-9]+")
        yield program, port


@dataclass(frozen=True)
class StoreServer:
    """A state server of a configuration file with `store:`."""

    program: Program
    port: int
    admin: str  # a URL


@contextmanager
def configured_store_server(
    directory: Path,
    settings: str,
    name: str = "store-1",
    module: str = PARTITIONER,
    environment: Mapping[str, str] | None = None,
) -> Iterator[StoreServer]:
    """Start `serve` with these settings, which have `store:` among them."""
    place = directory / name
    place.mkdir(exist_ok=True)
    file = place / CONFIGURATION
    with ExitStack() as stack:
        port = stack.enter_context(kept_port())
        state_dir = "" if "state_dir" in settings else f"state_dir: {place / 'state'}\n"
        file.write_text(f"name: {name}\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:0\n{state_dir}{settings}")
        program = stack.enter_context(
            running("serve", "-c", str(file), module=module, environment=environment)
        )
        match = program.wait_for(r"state server on 127\.0\.0\.1:[0-9]+.*admin port on 127\.0\.0\.1:([0-9]+)")
        yield StoreServer(program, port, f"http://127.0.0.1:{match[1]}")
