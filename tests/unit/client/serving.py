"""Serves an object that has some of a service's methods; the others are unimplemented."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from sagaline.v1 import admin_service_pb2, saga_service_pb2

SAGA_SERVICE = saga_service_pb2.DESCRIPTOR.services_by_name["SagaService"]
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def handlers(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Return what a server is to be given; works for both kinds of server."""
    served = {method.name: _handler(method, servicer) for method in service.methods if hasattr(servicer, method.name)}
    return grpc.method_handlers_generic_handler(service.full_name, served)


def _handler(method: MethodDescriptor, servicer: object) -> grpc.RpcMethodHandler[Any, Any]:
    kind = _KINDS[method.client_streaming, method.server_streaming]
    return kind(
        getattr(servicer, method.name),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
