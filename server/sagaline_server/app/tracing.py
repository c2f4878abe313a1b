"""The tracer that the settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from sagaline_server import __version__
from sagaline_server.app.settings import Settings, SettingsError
from sagaline_server.ports.store import SagaStore
from sagaline_server.runtime.metrics import RuntimeMetrics

if TYPE_CHECKING:
    from sagaline_server.tracing.tracer import Tracer


def make_tracer(settings: Settings, store: SagaStore, metrics: RuntimeMetrics) -> Tracer | None:
    """Return what makes and exports spans; None where none are asked for. Only then it is imported.

    Raises:
        SettingsError: It needs what is not installed, or a certificate can't be read.
    """
    if not settings.trace_endpoint:
        return None
    try:
        from sagaline_server.tracing.collector import Collector  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = (
            f"settings: trace_endpoint: spans need opentelemetry-proto; install sagaline-server[tracing] ({error})"
        )
        raise SettingsError(message) from error
    from sagaline_server.tracing.tracer import Tracer  # noqa: PLC0415 - see above

    collector = Collector(settings.trace_endpoint, _credentials(settings), settings.sec_id, __version__)
    return Tracer(store, collector, metrics)


def _credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    if not settings.trace_ca:
        return None
    try:
        return grpc.ssl_channel_credentials(Path(settings.trace_ca).read_bytes())
    except OSError as error:
        raise SettingsError(f"settings: trace_ca {settings.trace_ca}: {error.strerror}") from error
