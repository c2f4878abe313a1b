package dev.sagaline;

import dev.sagaline.internal.engine.Engine;
import dev.sagaline.internal.engine.Run;
import dev.sagaline.internal.machine.Effect;
import dev.sagaline.internal.machine.Fleet;
import dev.sagaline.internal.machine.Holdings;
import dev.sagaline.internal.machine.Limits;
import dev.sagaline.internal.machine.Outcome;
import dev.sagaline.internal.machine.Ref;
import dev.sagaline.internal.machine.Side;
import dev.sagaline.v1.Failure;
import dev.sagaline.v1.Hello;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.BiConsumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * Serves actions to SECs: it connects to each, runs what it is sent, and reconnects for ever. Nothing of user code can hold up
 * its heartbeats.
 *
 * <pre>{@code
 * try (Worker worker = Worker.builder("localhost:7433").actions(charge, ship).slots(20).build()) {
 *   worker.runUntilSignal();
 * }
 * }</pre>
 */
public final class Worker implements AutoCloseable {
  /** Of this SDK. */
  public static final String VERSION = "0.1.0";

  private static final Logger LOG = LoggerFactory.getLogger(Worker.class);

  private final Builder config;
  private final Map<Side, Action<?, ?>> served = new HashMap<>();
  private final Hello hello;
  private final CompletableFuture<Void> ready = new CompletableFuture<>();
  private final CompletableFuture<Void> left = new CompletableFuture<>();
  private final Engine engine;
  private boolean started;

  private Worker(Builder config) {
    this.config = config;
    this.hello = makeHello();
    Map<Side, String> pools = new HashMap<>();
    served.forEach((side, action) -> pools.put(side, action.pool()));
    // Many workers with the same list should not all begin with the same SEC.
    List<String> addresses = new ArrayList<>(config.addresses);
    Collections.shuffle(addresses);
    Fleet fleet = new Fleet(hello, new Holdings(pools, config.slots), addresses);
    engine = new Engine(fleet, config.credentials, this::runAttempt, this::welcomed);
  }

  /** Addresses of SECs, or of a load balancer before them: "host:port", several with commas between them; one is enough. */
  public static Builder builder(String addresses) {
    return new Builder(addresses);
  }

  /** What a worker is made of. */
  public static final class Builder {
    private final List<String> addresses = new ArrayList<>();
    private final List<Action<?, ?>> actions = new ArrayList<>();
    private final Map<String, Integer> slots = new HashMap<>(Map.of("", 100));
    private final Map<String, String> labels = new HashMap<>();
    private Duration drainTimeout = Duration.ofSeconds(25); // below the 30 s that most process managers give after SIGTERM
    private String identity;
    private String buildId = "";
    private ChannelCredentials credentials = InsecureChannelCredentials.create();
    private PayloadCodec codec = JsonCodec.DEFAULT;
    private boolean stackTraces;
    private BiConsumer<String, Map<String, String>> onWelcome = (sec, refused) -> {};

    private Builder(String addresses) {
      for (String address : addresses.split(",")) {
        int colon = address.lastIndexOf(':');
        if (colon <= 0 || colon == address.trim().length() - 1) {
          throw new DefinitionException("\"" + address + "\" is not the address of a SEC: give host:port");
        }
        this.addresses.add(address.trim());
      }
    }

    /** Serves these too; a name may come in several versions. */
    public Builder actions(Action<?, ?>... actions) {
      this.actions.addAll(List.of(actions));
      return this;
    }

    /** Attempts that run at the same time; 100 if nothing else is said. */
    public Builder slots(int slots) {
      return pool("", slots);
    }

    /** Further slots, for the actions of this pool. */
    public Builder pool(String name, int slots) {
      if (slots < 1 || slots > Limits.SLOTS_MAX) {
        throw new DefinitionException("slots of pool \"" + name + "\": " + slots + "; give 1 to " + Limits.SLOTS_MAX);
      }
      this.slots.put(name, slots);
      return this;
    }

    /** How long running attempts go on when the worker leaves, before they are cancelled. */
    public Builder drainTimeout(Duration timeout) {
      drainTimeout = timeout;
      return this;
    }

    /** For people; host and process if nothing else is said. */
    public Builder identity(String identity) {
      this.identity = identity;
      return this;
    }

    /** Of your code, for people. */
    public Builder buildId(String buildId) {
      this.buildId = buildId;
      return this;
    }

    /** For people. */
    public Builder label(String key, String value) {
      labels.put(key, value);
      return this;
    }

    /** For TLS. Plain text if nothing is said: for loopback and trusted networks. */
    public Builder credentials(ChannelCredentials credentials) {
      this.credentials = credentials;
      return this;
    }

    public Builder codec(PayloadCodec codec) {
      this.codec = codec;
      return this;
    }

    /** Sends the stack traces of exceptions; they are stored in the log. */
    public Builder sendStackTraces(boolean send) {
      stackTraces = send;
      return this;
    }

    /** Is told of every session that opens, and of the actions that the SEC refuses, with the reasons. */
    public Builder onWelcome(BiConsumer<String, Map<String, String>> listener) {
      onWelcome = listener;
      return this;
    }

    public Worker build() {
      return new Worker(this);
    }
  }

  /** New for each worker. */
  public String id() {
    return hello.getWorkerId();
  }

  /** Completed when a SEC has welcomed the worker for the first time. */
  public CompletableFuture<Void> ready() {
    return ready.copy();
  }

  /** Whether a session with any SEC is open at this moment: what a readiness probe asks. */
  public boolean isConnected() {
    return engine.connected();
  }

  /**
   * Begins to serve. The future is completed when the worker has left, and exceptionally, with {@link
   * WorkerReplacedException}, where nobody asked it to.
   */
  public synchronized CompletableFuture<Void> start() {
    if (!started) {
      started = true;
      engine
          .done()
          .thenRun(
              () -> {
                String problem = engine.close();
                if (problem == null) {
                  left.complete(null);
                } else {
                  left.completeExceptionally(new WorkerReplacedException(problem));
                }
              });
      engine.start();
    }
    return left.copy();
  }

  /** Serves until the worker has left. When the thread is interrupted it begins to leave. */
  public void run() {
    CompletableFuture<Void> end = start();
    try {
      end.get();
    } catch (InterruptedException e) {
      close();
      Thread.currentThread().interrupt();
    } catch (ExecutionException e) {
      throw e.getCause() instanceof WorkerReplacedException replaced ? replaced : new IllegalStateException(e.getCause());
    }
  }

  /** Serves until SIGTERM or SIGINT, on which the worker leaves as on {@link #drain}; a second one stops it sooner. */
  public void runUntilSignal() {
    Signals.onStop(
        (signal, again) -> {
          LOG.warn("the worker leaves: {}", signal);
          drain(again ? Duration.ZERO : config.drainTimeout);
        });
    run();
  }

  /**
   * Begins to leave: takes nothing new, hands back what has not started, and lets run what runs, for so long at most; then it
   * interrupts that and gives it 5 s. Called again it can only shorten the time.
   */
  public void drain(Duration timeout) {
    start();
    engine.drain(timeout.toNanos());
  }

  /** Leaves, within the drain timeout, and waits for that. */
  @Override
  public void close() {
    synchronized (this) {
      if (!started) {
        return;
      }
    }
    if (!left.isDone()) {
      drain(config.drainTimeout);
    }
    left.handle((nothing, problem) -> null).join();
  }

  // ---- inside

  /** Refuses what every SEC would refuse. */
  private Hello makeHello() {
    if (config.actions.isEmpty() || config.actions.size() > Limits.ACTIONS_MAX) {
      throw new DefinitionException("a worker serves 1 to " + Limits.ACTIONS_MAX + " actions, not " + config.actions.size());
    }
    String identity = config.identity != null ? config.identity : hostAndProcess();
    bounded(identity, Limits.IDENTITY_BYTES);
    bounded(config.buildId, Limits.BUILD_ID_BYTES);
    config.labels.forEach(
        (key, value) -> {
          bounded(key, Limits.LABEL_BYTES);
          bounded(value, Limits.LABEL_BYTES);
        });
    if (config.labels.size() > Limits.LABELS_MAX) {
      throw new DefinitionException("a worker has at most " + Limits.LABELS_MAX + " labels");
    }
    var hello =
        Hello.newBuilder()
            .setWorkerId(Ids.newId())
            .setIdentity(identity)
            .setBuildId(config.buildId)
            .setSdk("sagaline-java/" + VERSION)
            .putAllLabels(config.labels);
    for (Action<?, ?> action : config.actions) {
      hello.addActions(action.spec());
      serve(action);
    }
    Hello built = hello.build();
    if (built.getSerializedSize() > Limits.HELLO_BYTES_MAX) {
      throw new DefinitionException("the worker's description has " + built.getSerializedSize() + " bytes: serve fewer actions");
    }
    return built;
  }

  private void serve(Action<?, ?> action) {
    if (!action.isServed()) {
      throw new DefinitionException(action + " is only declared: it has nothing that a worker could run");
    }
    if (!config.slots.containsKey(action.pool())) {
      throw new DefinitionException(action + " uses the slot pool \"" + action.pool() + "\", which the worker does not have");
    }
    Action<?, ?> before = served.put(new Side(action.name(), action.version(), Ref.ACTION), action);
    if (before != null) {
      throw new DefinitionException(action + " is given twice");
    }
    if (action.hasUndo()) {
      served.put(new Side(action.name(), action.version(), Ref.UNDO), action);
    }
  }

  private static void bounded(String text, int most) {
    int bytes = text.getBytes(StandardCharsets.UTF_8).length;
    if (bytes > most) {
      throw new DefinitionException("\"" + text + "\" has " + bytes + " bytes; at most " + most + " are sent");
    }
  }

  private static String hostAndProcess() {
    String host = "?";
    try {
      host = InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      LOG.debug("this host has no name", e);
    }
    return host + "/" + ManagementFactory.getRuntimeMXBean().getPid();
  }

  private void welcomed(Effect.Welcomed welcome) {
    LOG.info("welcomed by {} at {}, as worker {}", welcome.sec(), welcome.address(), id());
    welcome
        .refused()
        .forEach(
            (action, reason) ->
                LOG.error("{} refuses the action {}: it gets no work from there: {}", welcome.sec(), action, reason));
    ready.complete(null);
    try {
      config.onWelcome.accept(welcome.sec(), welcome.refused());
    } catch (RuntimeException e) {
      LOG.error("onWelcome failed", e);
    }
  }

  /** Runs user code and turns how it ended into an outcome. */
  private Outcome runAttempt(Run run) {
    Action<?, ?> action = served.get(Side.of(run.invocation));
    try {
      return Outcome.succeeded(action.run(ActionContext.of(run, config.codec), run.invocation, config.codec));
    } catch (Throwable thrown) { // whatever it is: the attempt has to be answered
      Failure failure = Outcomes.failureOf(thrown, run, config.codec, config.stackTraces);
      LOG.atLevel(thrown instanceof OutcomeException ? Level.INFO : Level.WARN)
          .addKeyValue("attempt", Ref.of(run.invocation.getRef()))
          .addKeyValue("action", action.name())
          .addKeyValue("type", failure.getType())
          .log("an attempt did not succeed: {}", failure.getMessage());
      return Outcome.failed(failure);
    }
  }
}
