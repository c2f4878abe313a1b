"""The server process: from the command line, or from `sagaline dev` and `sagaline server`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from sagaline_server import __version__
from sagaline_server.app.logs import set_up_logs
from sagaline_server.app.settings import Settings, SettingsError, load_settings
from sagaline_server.ports.store import SecNameTaken, WrongShards

DEV_DATA_DIR = ".sagaline-dev"

log = structlog.get_logger("sagaline.main")


def run_dev(*, listen: str, web: str | None, data_dir: str | None, log_level: str) -> int:
    """Run a SEC on SQLite for development until it is interrupted; returns the exit code.

    Args:
        listen: Where to listen.
        web: Where to serve the pages; empty: nowhere; None: at a free port of loopback.
        data_dir: Where to keep sagas. None: beside the program.
        log_level: What to log.
    """
    overrides = {
        "web_listen": "127.0.0.1:0" if web is None else web,
        "listen": listen,
        "store": "sqlite",
        "data_dir": data_dir or str(Path.cwd() / DEV_DATA_DIR),
        "log_level": log_level,
        "sec_id": "dev",
    }
    return run_server(config_file=None, overrides=overrides)


def run_server(*, config_file: str | None, overrides: Mapping[str, str]) -> int:
    """Run a SEC until it is interrupted or told to stop; returns the exit code."""
    try:
        settings = load_settings(config_file, overrides)
        set_up_logs(settings.log_level)
        return _run(settings)
    except (SettingsError, SecNameTaken, WrongShards) as error:
        sys.stderr.write(f"sagaline server: {error}\n")
        return 2


def _run(settings: Settings) -> int:
    # What is imported by now stays for ever; scanning it again and again would only pause the loop.
    from sagaline_server.app.sec import Sec  # noqa: PLC0415 - heavy, and not needed to refuse wrong settings

    gc.collect()
    gc.freeze()
    # Little of what a SEC makes is cyclic, and looking for that every 700 objects cost a tenth of its time.
    gc.set_threshold(50_000, 20, 100)

    async def main() -> None:
        sec = Sec(settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, sec.stop)
        await sec.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent where there is no build of it
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m sagaline_server`."""
    parser = argparse.ArgumentParser(prog="sagaline-server", description="Run a saga execution coordinator.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", help="TOML file with settings")
    for name in Settings.__struct_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    config = given.pop("config")
    return run_server(config_file=config, overrides={key: value for key, value in given.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
