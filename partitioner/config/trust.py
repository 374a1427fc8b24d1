"""What a configuration leaves open that is allowed and probably not meant: tokens, networks, listings.

These are warnings: `check` prints them, and `serve` says them when it starts.
"""

from pathlib import Path

from partitioner.config.settings import Settings
from partitioner.token_file import is_world_readable, short_token, weaknesses


def trust_warnings(settings: Settings, config: Path | None = None) -> list[str]:
    """Say what is left open, a sentence each; `config` is the file that the settings were read from."""
    return [
        *_weak_tokens(settings, config),
        *_widest(settings),
        *_refused_listings(settings),
    ]


def _weak_tokens(settings: Settings, config: Path | None) -> list[str]:
    files = {"admin_token_file": settings.admin_token_file, "backend_token_file": settings.backend_token_file}
    sentences = [
        sentence for key, file in files.items() if file is not None for sentence in weaknesses(key, file)
    ]
    if settings.admin_token is not None:
        sentences += short_token("admin_token", settings.admin_token)
    if config is not None and is_world_readable(config) and _holds_the_token(settings, config):
        sentences.append(
            f"admin_token stands in {config}, which every user of this machine can read; expected "
            "admin_token_file, or ${NAME} of an environment variable"
        )
    return sentences


def _holds_the_token(settings: Settings, config: Path) -> bool:
    token = settings.admin_token
    try:
        return token is not None and token.encode() in config.read_bytes()
    except OSError:
        return False


def _widest(settings: Settings) -> list[str]:
    widest = [str(each) for each in settings.allow_clients if each.prefixlen == 0]
    if not settings.listens_for_others() or not widest:
        return []
    return [
        f"listen is {settings.listens_at()}, and allow_clients holds {widest[0]}: every machine that reaches "
        "it can read and write all sessions, and who writes a session runs code on the web servers"
    ]


def _refused_listings(settings: Settings) -> list[str]:
    asked = [each.name for each in settings.backends if each.admin is not None]
    if not asked or settings.backend_token_file is not None:
        return []
    return [
        f"{', '.join(asked)} {'has' if len(asked) == 1 else 'have'} an `admin` address, and there is no "
        "backend_token_file: state servers refuse to list their sessions, so a drain moves sessions only as "
        "they are used, and nothing is healed"
    ]
