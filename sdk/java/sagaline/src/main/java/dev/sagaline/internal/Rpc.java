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
  public static final MethodDescriptor<RunSagaRequest, RunSagaResponse> RUN_SAGA =
      unary("SagaService/RunSaga", RunSagaRequest.getDefaultInstance(), RunSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<RunSagasRequest, RunSagasResponse> RUN_SAGAS =
      method("SagaService/RunSagas", MethodType.BIDI_STREAMING, RunSagasRequest.getDefaultInstance(), RunSagasResponse.getDefaultInstance());
  public static final MethodDescriptor<ListSagasRequest, ListSagasResponse> LIST_SAGAS =
      unary("SagaService/ListSagas", ListSagasRequest.getDefaultInstance(), ListSagasResponse.getDefaultInstance());
  public static final MethodDescriptor<PauseSagaRequest, PauseSagaResponse> PAUSE_SAGA =
      unary("SagaService/PauseSaga", PauseSagaRequest.getDefaultInstance(), PauseSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<ResumeSagaRequest, ResumeSagaResponse> RESUME_SAGA =
      unary("SagaService/ResumeSaga", ResumeSagaRequest.getDefaultInstance(), ResumeSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<StepSagaRequest, StepSagaResponse> STEP_SAGA =
      unary("SagaService/StepSaga", StepSagaRequest.getDefaultInstance(), StepSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<SetBreakpointsRequest, SetBreakpointsResponse> SET_BREAKPOINTS =
      unary("SagaService/SetBreakpoints", SetBreakpointsRequest.getDefaultInstance(), SetBreakpointsResponse.getDefaultInstance());
  public static final MethodDescriptor<InjectFaultRequest, InjectFaultResponse> INJECT_FAULT =
      unary("SagaService/InjectFault", InjectFaultRequest.getDefaultInstance(), InjectFaultResponse.getDefaultInstance());
  public static final MethodDescriptor<BatchControlSagasRequest, BatchControlSagasResponse> BATCH_CONTROL_SAGAS =
      unary("SagaService/BatchControlSagas", BatchControlSagasRequest.getDefaultInstance(), BatchControlSagasResponse.getDefaultInstance());
  public static final MethodDescriptor<CountSagasRequest, CountSagasResponse> COUNT_SAGAS =
      unary("SagaService/CountSagas", CountSagasRequest.getDefaultInstance(), CountSagasResponse.getDefaultInstance());

  public static final MethodDescriptor<ListSecsRequest, ListSecsResponse> LIST_SECS =
      unary("AdminService/ListSecs", ListSecsRequest.getDefaultInstance(), ListSecsResponse.getDefaultInstance());
  public static final MethodDescriptor<ListWorkersRequest, ListWorkersResponse> LIST_WORKERS =
      unary("AdminService/ListWorkers", ListWorkersRequest.getDefaultInstance(), ListWorkersResponse.getDefaultInstance());
  public static final MethodDescriptor<ExplainSagaRequest, ExplainSagaResponse> EXPLAIN_SAGA =
      unary("AdminService/ExplainSaga", ExplainSagaRequest.getDefaultInstance(), ExplainSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<HandOffRequest, HandOffResponse> HAND_OFF =
      unary("AdminService/HandOff", HandOffRequest.getDefaultInstance(), HandOffResponse.getDefaultInstance());
  public static final MethodDescriptor<DrainSecRequest, DrainSecResponse> DRAIN_SEC =
      unary("AdminService/DrainSec", DrainSecRequest.getDefaultInstance(), DrainSecResponse.getDefaultInstance());
  public static final MethodDescriptor<SetLimitRequest, SetLimitResponse> SET_LIMIT =
      unary("AdminService/SetLimit", SetLimitRequest.getDefaultInstance(), SetLimitResponse.getDefaultInstance());
  public static final MethodDescriptor<ListLimitsRequest, ListLimitsResponse> LIST_LIMITS =
      unary("AdminService/ListLimits", ListLimitsRequest.getDefaultInstance(), ListLimitsResponse.getDefaultInstance());
  public static final MethodDescriptor<QuarantineSagaRequest, QuarantineSagaResponse> QUARANTINE_SAGA =
      unary("AdminService/QuarantineSaga", QuarantineSagaRequest.getDefaultInstance(), QuarantineSagaResponse.getDefaultInstance());
  public static final MethodDescriptor<ReleaseSagaRequest, ReleaseSagaResponse> RELEASE_SAGA =
      unary("AdminService/ReleaseSaga", ReleaseSagaRequest.getDefaultInstance(), ReleaseSagaResponse.getDefaultInstance());

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
