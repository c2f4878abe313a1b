"""The commands `dev` and `server`."""

from __future__ import annotations

import click

from sagaline.cli.exits import UnusableInput

_LEVELS = click.Choice(["debug", "info", "warning", "error"])


@click.command("dev", short_help="Run a SEC for development: one process, nothing to set up.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7070", show_default=True, help="Where to listen.")
@click.option(
    "--web",
    metavar="HOST:PORT",
    help='Where to show sagas to a browser; "" is nowhere.  [default: a free port]',
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Directory to keep sagas in.  [default: .sagaline-dev here]",
)
@click.option("--log-level", type=_LEVELS, default="info", show_default=True, help="What to log.")
def dev_command(listen: str, web: str | None, data_dir: str | None, log_level: str) -> None:
    """Run a SEC on SQLite in one process, for development. Ctrl-C stops it."""
    try:
        _import_what_is_needed()
        from sagaline_server.app.main import run_dev
    except ImportError as error:
        raise _not_installed(error) from error
    click.get_current_context().exit(run_dev(listen=listen, web=web, data_dir=data_dir, log_level=log_level))


@click.command("server", short_help="Run a SEC.")
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="TOML file of settings.")
@click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting, before the file and environment."
)
def server_command(config_file: str | None, assignments: tuple[str, ...]) -> None:
    """Run a SEC. SIGTERM stops it in order."""
    overrides: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{assignment!r} does not read KEY=VALUE", param_hint="--set")
        overrides[key] = value
    try:
        _import_what_is_needed()
        from sagaline_server.app.main import run_server
    except ImportError as error:
        raise _not_installed(error) from error
    click.get_current_context().exit(run_server(config_file=config_file, overrides=overrides))


def _import_what_is_needed() -> None:
    from sagaline_server.app.lean import import_structlog_alone

    import_structlog_alone()


def _not_installed(error: ImportError) -> UnusableInput:
    return UnusableInput(f"this command needs the package sagaline-server: {error}")
