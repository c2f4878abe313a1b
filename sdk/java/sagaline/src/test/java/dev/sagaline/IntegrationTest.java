package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sagaline.v1.BatchControl;
import dev.sagaline.v1.Breakpoint;
import dev.sagaline.v1.FaultKind;
import dev.sagaline.v1.Limit;
import dev.sagaline.v1.LogEntry;
import dev.sagaline.v1.NodeStatus;
import dev.sagaline.v1.NodeWait;
import dev.sagaline.v1.Resolution;
import dev.sagaline.v1.SagaFilter;
import dev.sagaline.v1.SagaState;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Worker, client and graphs against a real SEC. */
@EnabledIfEnvironmentVariable(named = Sec.COMMAND, matches = ".+", disabledReason = "nothing says how to start a SEC")
class IntegrationTest {
  record Charge(String card, int cents, Optional<String> note) {}

  record Receipt(String number, int cents) {}

  record Order(String card, int cents, List<Integer> parts) {}

  record Product(int place, int number, int by) {}

  private static final By ADA = new By("ada", "enough");
  private static final RetryPolicy QUICK =
      RetryPolicy.DEFAULT.initialBackoff(Duration.ofMillis(1)).maxBackoff(Duration.ofMillis(1));

  private static Sec sec;
  private static Client client;

  @BeforeAll
  static void begin() throws Exception {
    sec = new Sec();
    client = Client.connect(sec.address);
  }

  @AfterAll
  static void end() throws Exception {
    client.close();
    sec.close();
  }

  private static <T> T get(CompletableFuture<T> future) throws Exception {
    return future.get(60, TimeUnit.SECONDS);
  }

  private static <X extends Throwable> X fails(Class<X> type, CompletableFuture<?> future) {
    return assertInstanceOf(type, assertThrows(ExecutionException.class, () -> get(future)).getCause());
  }

  private static Worker serve(String address, Action<?, ?>... actions) throws Exception {
    Worker worker = Worker.builder(address).actions(actions).slots(8).build();
    worker.start();
    get(worker.ready());
    return worker;
  }

  @Test
  void aSagaRunsAndItsResultIsTyped() throws Exception {
    Set<String> keys = ConcurrentHashMap.newKeySet();
    var charge =
        Action.of("charge", Charge.class, Receipt.class, (context, in) -> {
          keys.add(context.idempotencyKey());
          if (context.attempt() < 3) {
            throw new IllegalStateException("the bank does not answer");
          }
          return new Receipt(in.card() + in.note().orElse("?"), in.cents());
        }).undo((context, undo) -> {});
    var times = Action.of("times", Product.class, Integer.class, (context, in) -> in.place() * 100 + in.number() * in.by());
    var g = Graph.builder("order", Order.class);
    var paid =
        g.add(
            "pay", charge, Inputs.of(Charge::new, g.params().at(Order::card), g.params().at(Order::cents), Ref.none()),
            With.retry(QUICK));
    var soon = g.delay("soon", Duration.ofMillis(1), With.after(paid));
    var products =
        g.map(
            "times", times, Inputs.of(Product::new, Ref.place(), Ref.each(g.params().at(Order::parts)), paid.at(Receipt::cents)),
            With.after(soon), With.maxConcurrency(2));
    var order = g.build(products);
    try (Worker worker = serve(sec.address, charge, times)) {
      assertEquals(List.of(10, 120, 230), get(client.run(order, new Order("visa", 10, List.of(1, 2, 3)))));
      assertEquals(1, keys.size());
      assertTrue(worker.isConnected());
      var workers = get(client.admin().workers());
      assertTrue(workers.stream().anyMatch(each -> each.getWorkerId().equals(worker.id())));
    }
  }

  @Test
  void aFailedSagaIsUnwoundWithInputsAndOutputsForUndo() throws Exception {
    BlockingQueue<Undo<Charge, Receipt>> undone = new LinkedBlockingQueue<>();
    var charge =
        Action.of("charge2", Charge.class, Receipt.class, (context, in) -> new Receipt("r1", in.cents()))
            .undo((context, undo) -> undone.add(undo));
    var ship =
        Action.of("ship", String.class, String.class, (context, receipt) -> {
          throw new FailedException("NoWay", "no ship goes there with " + receipt);
        });
    var g = Graph.builder("shipping", Order.class);
    var paid =
        g.add(
            "pay", charge,
            Inputs.of(Charge::new, g.params().at(Order::card), g.params().at(Order::cents), Ref.of("hurry").optional()));
    var shipping = g.build(g.add("ship", ship, paid.at(Receipt::number)));
    try (Worker worker = serve(sec.address, charge, ship)) {
      var saga = NewSaga.of(shipping, new Order("visa", 7, List.of())).id("shipping-1").label("of", "ada");
      var unwound = fails(UnwoundException.class, client.run(saga));
      assertEquals("NoWay", unwound.failure().orElseThrow().type());
      var undo = undone.poll(60, TimeUnit.SECONDS);
      assertEquals(new Charge("visa", 7, Optional.of("hurry")), undo.input());
      assertEquals(new Receipt("r1", 7), undo.output());
      assertEquals("NoWay", undo.sagaFailure().orElseThrow().type());
      assertEquals("shipping-1", get(client.create(saga)).id());
      var other = NewSaga.of(shipping, new Order("visa", 8, List.of())).id("shipping-1");
      assertEquals("SAGA_ALREADY_EXISTS", fails(SagaException.class, client.create(other)).reason());
    }
    List<LogEntry> log = new ArrayList<>();
    get(client.watch("shipping-1", 1, log::add));
    for (int i = 0; i < log.size(); i++) {
      assertEquals(i + 1, log.get(i).getSeq());
    }
    assertTrue(log.get(0).hasSagaCreated() && log.get(log.size() - 1).hasSagaFinished());
    List<String> found = new ArrayList<>();
    get(client.list(SagaFilter.newBuilder().putLabels("of", "ada").build(), each -> found.add(each.getSagaId())));
    assertEquals(List.of("shipping-1"), found);
    assertEquals("SAGA_NOT_FOUND", fails(SagaException.class, client.get("nobody")).reason());
  }

  @Test
  void whatIsHeldWaitsForADecision() throws Exception {
    var odd =
        Action.of("odd", Void.class, String.class, (context, nothing) -> {
          throw new HoldException("Odd", "somebody must look");
        });
    var g = Graph.builder("odd");
    var odds = g.build(g.add("odd", odd));
    try (Worker worker = serve(sec.address, odd)) {
      var saga = get(client.create(NewSaga.of(odds)));
      assertTrue(fails(NeedsOperatorException.class, saga.result()).saga().getNeedsOperator());
      var supply = Resolution.RESOLUTION_SUPPLY_OUTPUT;
      long seen = get(client.get(saga.id())).getLogLength();
      var early = client.resolveIfUnchanged(saga.id(), "odd", seen - 1, supply, "by hand", ADA);
      assertEquals("SAGA_CHANGED", fails(SagaException.class, early).reason());
      get(client.resolveIfUnchanged(saga.id(), "odd", seen, supply, "by hand", ADA));
      assertEquals("by hand", get(saga.result()));
      assertEquals("by hand", get(client.find(saga.id(), String.class).result()));
    }
  }

  @Test
  void clientsSteer() throws Exception {
    var g = Graph.builder("steered", String.class);
    var told = g.signal("told", String.class, With.signal("tell"));
    var steered = g.build(g.add("never", Action.declare("nobody.serves.it", String.class, String.class), told, With.noUndo()));
    var saga = get(client.create(NewSaga.of(steered, "x").id("steered-1").startPaused().scopes("rack/17")));
    var ofIt = SagaFilter.newBuilder().setGraphName("steered").build();
    assertEquals(Map.of(SagaState.SAGA_STATE_RUNNING, 1L), get(client.count(ofIt)));
    assertTrue(get(saga.get()).getPaused());
    get(client.step(saga.id(), 1, ADA));
    get(client.setBreakpoints(saga.id(), List.of(Breakpoint.newBuilder().setNode("never").build()), ADA));
    assertFalse(get(client.resume(saga.id(), ADA)).getPaused());
    get(client.signal(saga.id(), "tell", "go"));
    get(client.injectFault(saga.id(), "never", FaultKind.FAULT_KIND_ACTION_ERROR, 1, ADA));
    assertTrue(get(client.pause(saga.id(), ADA)).getPaused());
    assertEquals(List.of("steered-1"), get(client.batch(ofIt, BatchControl.BATCH_CONTROL_RESUME, ADA)).sagaIds());
    get(client.admin().quarantine(saga.id(), ADA));
    assertEquals(SagaState.SAGA_STATE_QUARANTINED, get(saga.get()).getState());
    get(client.admin().release(saga.id(), ADA));
    get(client.unwind(saga.id(), ADA));
    assertEquals(SagaState.SAGA_STATE_UNWOUND, get(client.await(saga.id())).getState());
    assertEquals(NodeStatus.NODE_STATUS_ABANDONED, get(saga.get()).getNodes(1).getStatus());
  }

  @Test
  void operatorsLimitAndLook() throws Exception {
    var limit = Limit.newBuilder().setScope("rack/18").setMaxRunning(1).build();
    assertEquals(limit, get(client.admin().setLimit(limit)));
    assertTrue(get(client.admin().limits()).contains(limit));
    assertEquals(1, get(client.admin().secs()).size());
    var g = Graph.builder("explained");
    var waits = g.build(g.add("never", Action.declare("nobody.serves.this", Void.class, String.class), With.noUndo()));
    var saga = get(client.create(NewSaga.of(waits)));
    List<NodeWait> why = List.of();
    for (long since = System.nanoTime(); why.isEmpty() && System.nanoTime() - since < TimeUnit.SECONDS.toNanos(60); ) {
      why = get(client.admin().explain(saga.id())).getWaitsList();
    }
    assertEquals("never", why.get(0).getNode());
    assertEquals("INVALID_REQUEST", fails(SagaException.class, client.create(NewSaga.of(waits).id("no spaces"))).reason());
    get(client.unwind(saga.id(), ADA));
    fails(UnwoundException.class, saga.result());
  }

  @Test
  void manyRunsShareAStreamAndOutliveASecThatIsKilled() throws Exception {
    int many = 200;
    var pick =
        Action.of("pick", Integer.class, String.class, (context, number) -> {
          if (number % 50 == 1) {
            throw new FailedException("Odd", "nobody picks " + number);
          }
          return "picked " + number;
        }).undo((context, undo) -> {});
    var g = Graph.builder("picking", Integer.class);
    var picking = g.build(g.add("pick", pick, g.params()));
    var ofIt = SagaFilter.newBuilder().setGraphName("picking").build();
    ExecutorService threads = Executors.newFixedThreadPool(many);
    try (Sec mortal = new Sec(); Client busy = Client.connect(mortal.address)) {
      List<Future<String>> runs = new ArrayList<>();
      for (int i = 0; i < many; i++) {
        int number = i;
        runs.add(threads.submit(() -> busy.run(picking, number).get()));
      }
      long begun = 0;
      for (long since = System.nanoTime(); begun < many && System.nanoTime() - since < TimeUnit.SECONDS.toNanos(60); ) {
        begun = get(busy.count(ofIt)).getOrDefault(SagaState.SAGA_STATE_RUNNING, 0L);
      }
      assertEquals(many, begun);
      assertEquals(1, mortal.calls("RunSagas"));
      assertEquals(SharedRuns.ALONE_MAX, mortal.calls("RunSaga"));
      mortal.kill();
      mortal.begin();
      try (Worker worker = serve(mortal.address, pick)) {
        for (int i = 0; i < many; i++) {
          Future<String> run = runs.get(i);
          if (i % 50 == 1) {
            var error = assertThrows(ExecutionException.class, () -> run.get(60, TimeUnit.SECONDS)).getCause();
            assertEquals("Odd", assertInstanceOf(UnwoundException.class, error.getCause()).failure().orElseThrow().type());
          } else {
            assertEquals("picked " + i, run.get(60, TimeUnit.SECONDS));
          }
        }
      }
      assertEquals(many, get(busy.count(ofIt)).values().stream().mapToLong(Long::longValue).sum());
      assertEquals(1, mortal.calls("RunSagas"));
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void workerAndClientOutliveASecThatIsKilled() throws Exception {
    var gate = new CountDownLatch(1);
    BlockingQueue<String> started = new LinkedBlockingQueue<>();
    var pass =
        Action.of("pass", String.class, String.class, (context, in) -> {
          started.add(context.idempotencyKey());
          gate.await();
          return in + " through";
        }).undo((context, undo) -> {});
    var fail =
        Action.of("fail", String.class, String.class, (context, in) -> {
          throw new FailedException("Closed", "nobody is let through");
        });
    var g = Graph.builder("gate", String.class);
    var passing = g.build(g.add("pass", pass, g.params()));
    var failing = Graph.builder("barred", String.class);
    var barred = failing.build(failing.add("fail", fail, failing.add("pass", pass, failing.params())));
    try (Sec mortal = new Sec(); Client far = Client.connect(mortal.address); Worker worker = serve(mortal.address, pass, fail)) {
      var result = far.run(NewSaga.of(passing, "half way").id("gate-1"));
      var other = far.run(NewSaga.of(barred, "not").id("barred-1"));
      List<LogEntry> log = new ArrayList<>();
      Set<String> keys = ConcurrentHashMap.newKeySet();
      for (int i = 0; i < 2; i++) {
        keys.add(started.poll(60, TimeUnit.SECONDS));
      }
      var watching = far.watch("gate-1", 1, log::add);
      mortal.kill();
      gate.countDown();
      mortal.begin();
      assertEquals("half way through", get(result));
      assertEquals("Closed", fails(UnwoundException.class, other).failure().orElseThrow().type());
      get(watching);
      assertTrue(log.get(log.size() - 1).hasSagaFinished());
      for (int i = 0; i < log.size(); i++) {
        assertEquals(i + 1, log.get(i).getSeq());
      }
      keys.addAll(started);
      assertEquals(2, keys.size()); // sent again or not: the keys never change
    }
  }
}
