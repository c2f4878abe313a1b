package dev.sagaline.internal;

import com.google.protobuf.Message;
import dev.sagaline.v1.*;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.protobuf.ProtoUtils;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/** The methods that this SDK calls, and the channels that it calls them on. */
public final class Rpc {
  public static final MethodDescriptor<ConnectRequest, ConnectResponse> CONNECT =
      method("WorkerService/Connect", MethodType.BIDI_STREAMING, ConnectRequest.getDefaultInstance(), ConnectResponse.getDefaultInstance());
  public static final MethodDescriptor<ReportResultsRequest, ReportResultsResponse> REPORT_RESULTS =
      unary("WorkerService/ReportResults", ReportResultsRequest.getDefaultInstance(), ReportResultsResponse.getDefaultInstance());

  public static final MethodDescriptor<CreateSagaRequest, CreateSagaResponse> CREATE_SAGA =
      unary("SagaService/CreateSaga", CreateSagaRequest.getDefaultInstance(), CreateSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<GetSagaRequest, GetSagaResponse> GET_SAGA =
      unary("SagaService/GetSaga", GetSagaRequest.getDefaultInstance(), GetSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<WaitSagaRequest, WaitSagaResponse> WAIT_SAGA =
      unary("SagaService/WaitSaga", WaitSagaRequest.getDefaultInstance(), WaitSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<UnwindSagaRequest, UnwindSagaResponse> UNWIND_SAGA =
      unary("SagaService/UnwindSaga", UnwindSagaRequest.getDefaultInstance(), UnwindSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<SignalSagaRequest, SignalSagaResponse> SIGNAL_SAGA =
      unary("SagaService/SignalSaga", SignalSagaRequest.getDefaultInstance(), SignalSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<ResolveNodeRequest, ResolveNodeResponse> RESOLVE_NODE =
      unary("SagaService/ResolveNode", ResolveNodeRequest.getDefaultInstance(), ResolveNodeResponse.getDefaultInstance());
  public static final MethodDescriptor<WatchSagaRequest, WatchSagaResponse> WATCH_SAGA =
      method("SagaService/WatchSaga", MethodType.SERVER_STREAMING, WatchSagaRequest.getDefaultInstance(), WatchSagaResponse.getDefaultInstance());

  private Rpc() {}

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> unary(String name, Q request, A response) {
    return method(name, MethodType.UNARY, request, response);
  }

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(
      String name, MethodType type, Q request, A response) {
    return MethodDescriptor.<Q, A>newBuilder()
        .setFullMethodName("sagaline.v1." + name)
        .setType(type)
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(response))
        .build();
  }

  /** A channel to one address. Half-open connections are found by pings, also between calls; a SEC allows one in 10 s. */
  public static ManagedChannel channel(String address, ChannelCredentials credentials, Executor executor) {
    return Grpc.newChannelBuilder("dns:///" + address, credentials)
        .executor(executor)
        .offloadExecutor(executor)
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(true)
        .disableServiceConfigLookUp()
        .disableRetry()
        .build();
  }
}
