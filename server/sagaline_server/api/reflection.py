"""Server reflection, v1 and v1alpha, so that a saga can be created with `grpcurl` or `buf curl` alone.

grpcio ships v1alpha only. The two differ in their package and nothing else, so
one servicer answers both. The name of v1 is not listed: its descriptor is not
linked in, and tools that list services resolve every name they are told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

V1 = "grpc.reflection.v1.ServerReflection"


class _Pool:
    """The default pool, which besides finds methods: `grpcurl describe` asks for them by name."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Serve reflection of services whose messages are linked in.

    Args:
        server: Server that has not started.
        services: Full names, such as "sagaline.v1.SagaService". Reflection adds itself.
    """
    servicer = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME), _Pool())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))
