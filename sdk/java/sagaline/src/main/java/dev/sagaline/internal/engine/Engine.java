package dev.sagaline.internal.engine;

import dev.sagaline.internal.Rpc;
import dev.sagaline.internal.machine.Effect;
import dev.sagaline.internal.machine.Fleet;
import dev.sagaline.internal.machine.Outcome;
import dev.sagaline.internal.machine.Ref;
import dev.sagaline.v1.Failure;
import dev.sagaline.v1.ReportResultsResponse;
import dev.sagaline.v1.ResultAck;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Owns every thread of a worker. The machine is touched only with the engine's lock held. User code has threads of its own
 * (as many as there are slots at most), and so have streams and timers: none can hold up another.
 */
public final class Engine {
  /** What happens to the machine. */
  interface Event {
    List<Effect> to(Fleet fleet, long now);
  }

  private static final Logger LOG = LoggerFactory.getLogger("dev.sagaline.Worker");
  private static final long CALL_SECONDS = 10;
  private static final long FLUSH_SECONDS = 5;
  private static final int GATHER_TURNS = 8;

  private final Fleet fleet;
  private final ChannelCredentials credentials;
  private final Function<Run, Outcome> userCode;
  private final Consumer<Effect.Welcomed> welcome;

  private final Object lock = new Object();
  private final Map<String, Link> links = new HashMap<>();
  private final Map<Ref, Run> runs = new HashMap<>();
  private final CompletableFuture<Void> done = new CompletableFuture<>();
  private final Deque<Event> events = new ArrayDeque<>();
  private boolean happening;
  /** How many attempts have ended, and whether a thread waits for more of them before it writes. */
  private long ended;
  private boolean gathering;
  private boolean over;
  private ScheduledFuture<?> timer;
  private long timerAt = Long.MAX_VALUE;

  private final ExecutorService user = Executors.newCachedThreadPool(threads("sagaline-action-"));
  private final ExecutorService io = Executors.newCachedThreadPool(threads("sagaline-io-"));
  private final ScheduledExecutorService timers = Executors.newSingleThreadScheduledExecutor(threads("sagaline-timer-"));
  /** Notes and callbacks, in order, without the lock: a log may be slow, and a callback may ask the worker something. */
  private final ExecutorService teller = Executors.newSingleThreadExecutor(threads("sagaline-notes-"));

  public Engine(
      Fleet fleet, ChannelCredentials credentials, Function<Run, Outcome> userCode, Consumer<Effect.Welcomed> welcome) {
    this.fleet = fleet;
    this.credentials = credentials;
    this.userCode = userCode;
    this.welcome = welcome;
  }

  private static ThreadFactory threads(String prefix) {
    AtomicInteger number = new AtomicInteger();
    return runnable -> {
      Thread thread = new Thread(runnable, prefix + number.incrementAndGet());
      thread.setDaemon(true); // what an action leaves behind must not keep the process alive
      return thread;
    };
  }

  /** Begins to dial. */
  public void start() {
    happen(Fleet::start);
  }

  /** Begins to leave, or to leave sooner than was said before. */
  public void drain(long timeout) {
    happen((fleet, now) -> fleet.drain(now, timeout));
  }

  public boolean connected() {
    synchronized (lock) {
      return fleet.connected();
    }
  }

  /** Completed when the worker has left. */
  public CompletableFuture<Void> done() {
    return done;
  }

  /** After done: tells what was left behind and lets go of all threads. Gives why the worker could not go on, or null. */
  public String close() {
    Fleet.LeftBehind left;
    synchronized (lock) {
      left = fleet.leftBehind();
      links.values().forEach(Link::hangUp);
      links.clear();
    }
    for (Ref ref : left.stillRun()) {
      LOG.error("left behind: an attempt still runs, and its outcome will count as unknown: {}", ref);
    }
    if (left.unacknowledged() > 0) {
      LOG.error("left behind: {} results that no SEC has acknowledged", left.unacknowledged());
    }
    timers.shutdownNow();
    user.shutdown();
    teller.shutdown();
    try {
      teller.awaitTermination(FLUSH_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    synchronized (lock) {
      return fleet.error();
    }
  }

  /** Lets something happen to the machine, and does what follows. */
  void happen(Event event) {
    happen(event, true);
  }

  /** Not to write at once is for what writes later. */
  private void happen(Event event, boolean writes) {
    synchronized (lock) {
      events.add(event);
      if (happening) {
        return; // within another event: it is next
      }
      happening = true;
      try {
        while (!events.isEmpty()) {
          apply(events.poll().to(fleet, System.nanoTime()));
          if (writes) {
            for (Link link : List.copyOf(links.values())) {
              link.pump();
            }
          }
        }
      } finally {
        happening = false;
      }
      setTimer();
      if (fleet.closed() && !over) {
        over = true;
        done.completeAsync(() -> null, io);
      }
    }
  }

  /** Does what the machine asks for, with the lock held. */
  private void apply(List<Effect> effects) {
    List<Effect> told = new ArrayList<>();
    for (Effect effect : effects) {
      if (effect instanceof Effect.Start start) {
        Run run = new Run(this, start.attempt());
        runs.put(run.ref, run);
        user.execute(() -> run(run));
      } else if (effect instanceof Effect.Stop stop) {
        Run run = runs.get(stop.ref());
        if (run != null) {
          io.execute(() -> run.stop(stop.cause()));
        }
      } else if (effect instanceof Effect.Connect connect) {
        links.computeIfAbsent(connect.address(), address -> new Link(this, address)).open(connect.freshChannel());
      } else if (effect instanceof Effect.EndStream end) {
        Link link = links.get(end.address());
        if (link != null) {
          link.end(end);
        }
      } else if (effect instanceof Effect.Closed closed) {
        Link link = links.remove(closed.address());
        if (link != null) {
          link.hangUp();
        }
      } else if (effect instanceof Effect.Call call) {
        call(call);
      } else {
        told.add(effect);
      }
    }
    if (!told.isEmpty() && !teller.isShutdown()) {
      teller.execute(() -> told.forEach(this::tell));
    }
  }

  private void tell(Effect effect) {
    if (effect instanceof Effect.Welcomed welcomed) {
      welcome.accept(welcomed);
    } else if (effect instanceof Effect.Note note) {
      var event = LOG.atLevel(note.level());
      for (int i = 0; i + 1 < note.facts().size(); i += 2) {
        event = event.addKeyValue(String.valueOf(note.facts().get(i)), String.valueOf(note.facts().get(i + 1)));
      }
      event.log(note.text());
    }
  }

  private void run(Run run) {
    if (!run.begin()) {
      happen(
          (fleet, now) -> {
            runs.remove(run.ref);
            return fleet.notStarted(run.ref, now);
          });
      return;
    }
    // Every attempt that was handed to user code has to be answered, however it ends.
    Outcome outcome = Outcome.failed(Failure.newBuilder().setType("sagaline.Internal").build());
    try {
      outcome = userCode.apply(run);
    } finally {
      run.end();
      finish(run.ref, outcome);
    }
  }

  /**
   * An attempt has ended. gRPC takes a frame and returns at once, so that nothing gathers while one is written: where other
   * attempts run, they are let go first, and the results of those that end now share a frame. A lone result leaves at once.
   */
  private void finish(Ref ref, Outcome outcome) {
    boolean alone;
    boolean first;
    synchronized (lock) {
      happen(
          (fleet, now) -> {
            runs.remove(ref);
            ended++;
            return fleet.finished(ref, outcome, now);
          },
          false);
      alone = runs.isEmpty();
      first = !gathering;
      gathering |= !alone;
    }
    if (alone) {
      happen((fleet, now) -> List.of());
    } else if (first) {
      io.execute(this::gather);
    }
  }

  /** Yields as long as that brings ends of attempts, a few times at most, and then writes. */
  private void gather() {
    long before = -1;
    for (int turn = 0; ; turn++, Thread.yield()) {
      synchronized (lock) {
        if (ended == before || turn == GATHER_TURNS) {
          gathering = false;
          happen((fleet, now) -> List.of());
          return;
        }
        before = ended;
      }
    }
  }

  // ---- inside

  ManagedChannel dial(String address) {
    return Rpc.channel(address, credentials, io);
  }

  /** Tells results to a SEC to which there is no stream. */
  private void call(Effect.Call call) {
    ManagedChannel channel = dial(call.address());
    var options = CallOptions.DEFAULT.withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS);
    ClientCalls.asyncUnaryCall(
        channel.newCall(Rpc.REPORT_RESULTS, options),
        call.request(),
        new StreamObserver<ReportResultsResponse>() {
          private List<ResultAck> acks;

          @Override
          public void onNext(ReportResultsResponse response) {
            acks = response.getResultAcksList();
          }

          @Override
          public void onError(Throwable error) {
            LOG.info("results were not taken at {}: {}", call.address(), error.getMessage());
            end(null);
          }

          @Override
          public void onCompleted() {
            end(acks);
          }

          private void end(List<ResultAck> acks) {
            channel.shutdown();
            happen((fleet, now) -> fleet.called(call.address(), acks, now));
          }
        });
  }

  /** One timer for all. It may be set too early, which costs a look, and is never set too late. */
  private void setTimer() {
    long at = fleet.nextDeadline();
    if (at == Long.MAX_VALUE || over || at >= timerAt || timers.isShutdown()) {
      return;
    }
    timerAt = at;
    if (timer != null) {
      timer.cancel(false);
    }
    timer = timers.schedule(() -> tick(at), Math.max(0, at - System.nanoTime()), TimeUnit.NANOSECONDS);
  }

  private void tick(long at) {
    happen(
        (fleet, now) -> {
          if (timerAt == at) {
            timerAt = Long.MAX_VALUE;
          }
          return fleet.tick(now, Math.max(0, now - at));
        });
  }
}
