package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sagaline.internal.Rpc;
import dev.sagaline.v1.FaultKind;
import dev.sagaline.v1.PauseSagaResponse;
import dev.sagaline.v1.Resolution;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.stub.ServerCalls;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a call whose fate is not known is followed by: the same call again, or nothing, where doing it twice would be wrong. */
class RepeatingTest {
  private static final int REFUSALS = 2;

  private final Map<String, Integer> asked = new ConcurrentHashMap<>();
  private Server server;
  private Client client;

  @BeforeEach
  void serve() throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(
                ServerServiceDefinition.builder("sagaline.v1.SagaService")
                    .addMethod(Rpc.PAUSE_SAGA, answering(Rpc.PAUSE_SAGA, PauseSagaResponse.getDefaultInstance()))
                    .addMethod(Rpc.STEP_SAGA, answering(Rpc.STEP_SAGA, null))
                    .addMethod(Rpc.RESOLVE_NODE, answering(Rpc.RESOLVE_NODE, null))
                    .addMethod(Rpc.INJECT_FAULT, answering(Rpc.INJECT_FAULT, null))
                    .build())
            .addService(
                ServerServiceDefinition.builder("sagaline.v1.AdminService")
                    .addMethod(Rpc.HAND_OFF, answering(Rpc.HAND_OFF, null))
                    .addMethod(Rpc.DRAIN_SEC, answering(Rpc.DRAIN_SEC, null))
                    .build())
            .build()
            .start();
    client = Client.connect("127.0.0.1:" + server.getPort());
  }

  @AfterEach
  void stop() {
    client.close();
    server.shutdownNow();
  }

  /** Is UNAVAILABLE twice, and then answers; with null it is for ever. */
  private <Q, A> ServerCallHandler<Q, A> answering(MethodDescriptor<Q, A> method, A answer) {
    return ServerCalls.asyncUnaryCall(
        (request, response) -> {
          int times = asked.merge(method.getBareMethodName(), 1, Integer::sum);
          if (answer == null || times <= REFUSALS) {
            response.onError(Status.UNAVAILABLE.asRuntimeException());
          } else {
            response.onNext(answer);
            response.onCompleted();
          }
        });
  }

  private void failsAfterOne(String method, CompletableFuture<?> call) {
    // Less than the 30 s for which a call is repeated that may be.
    var error = assertThrows(ExecutionException.class, () -> call.get(10, TimeUnit.SECONDS));
    assertEquals(Status.Code.UNAVAILABLE, assertInstanceOf(SagaException.class, error.getCause()).code());
    assertEquals(1, asked.get(method));
  }

  @Test
  void whatMayBeDoneTwiceIsRepeated() throws Exception {
    client.pause("saga", new By("me", "test")).get(10, TimeUnit.SECONDS);
    assertEquals(REFUSALS + 1, asked.get("PauseSaga"));
  }

  @Test
  void whatAddsUpIsSentOnce() {
    By me = new By("me", "test");
    failsAfterOne("StepSaga", client.step("saga", 1, me));
    failsAfterOne("ResolveNode", client.resolve("saga", "node", Resolution.RESOLUTION_RETRY, null, me));
    failsAfterOne("InjectFault", client.injectFault("saga", "node", FaultKind.FAULT_KIND_ACTION_ERROR, 1, me));
    failsAfterOne("HandOff", client.admin().handOff("saga", ""));
    failsAfterOne("DrainSec", client.admin().drain("", Duration.ofSeconds(5)));
  }

  @Test
  void nothingIsRepeatedForAClientThatIsClosed() {
    server.shutdownNow();
    var paused = client.pause("saga", new By("me", "test"));
    var watching = client.watch("saga", 1, entry -> {});
    client.close();
    for (CompletableFuture<?> call : List.of(paused, watching, client.get("saga"))) {
      var error = assertThrows(ExecutionException.class, () -> call.get(10, TimeUnit.SECONDS));
      assertEquals(Status.Code.CANCELLED, assertInstanceOf(SagaException.class, error.getCause()).code());
    }
  }
}
