package dev.sagaline.internal.engine;

import dev.sagaline.internal.Rpc;
import dev.sagaline.internal.machine.Effect;
import dev.sagaline.internal.machine.Session;
import dev.sagaline.v1.ConnectRequest;
import dev.sagaline.v1.ConnectResponse;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Carries the frames of one session: one stream after another over one connection, which is made anew when the session asks
 * for that, and after every stream that never came to be: the connection's own backoff would be longer than the session's.
 * Its fields are touched with the engine's lock held; nothing that gRPC is asked for here waits.
 */
final class Link {
  private final Engine engine;
  private final String address;
  private ManagedChannel channel;
  private Stream stream;
  private boolean closed;
  private boolean failed;

  Link(Engine engine, String address) {
    this.engine = engine;
    this.address = address;
  }

  /** Opens a stream. */
  void open(boolean fresh) {
    if (channel != null && (fresh || failed)) {
      channel.shutdownNow();
      channel = null;
    }
    Stream next = new Stream();
    stream = next;
    if (channel == null) {
      channel = engine.dial(address);
    }
    var call = channel.newCall(Rpc.CONNECT, CallOptions.DEFAULT);
    ClientCalls.asyncBidiStreamingCall(call, next);
    next.begin();
  }

  /** Does what the session asks of its stream. */
  void end(Effect.EndStream effect) {
    if (stream == null) {
      return;
    }
    if (stream.why == null) {
      stream.why = effect.why();
    }
    if (effect.halfClose()) {
      stream.halfClosing = true;
    } else {
      stream.requests.cancel(effect.why(), null);
    }
  }

  /** The session is over for good. */
  void hangUp() {
    closed = true;
    if (stream != null) {
      stream.requests.cancel("the session is over", null);
    }
    if (channel != null) {
      channel.shutdown();
    }
  }

  /** Writes what there is to write, while the stream takes it. */
  void pump() {
    if (stream != null) {
      stream.pump();
    }
  }

  private final class Stream implements ClientResponseObserver<ConnectRequest, ConnectResponse> {
    private ClientCallStreamObserver<ConnectRequest> requests;
    private Session session;
    private String why;
    private boolean halfClosing;
    private boolean halfClosed;
    private boolean over;

    @Override
    public void beforeStart(ClientCallStreamObserver<ConnectRequest> requests) {
      this.requests = requests;
      requests.disableAutoRequestWithInitial(1);
      requests.setOnReadyHandler(() -> engine.happen((fleet, now) -> List.of()));
    }

    /** Tells the machine of the stream, when the event that asked for it is over. */
    void begin() {
      engine.happen(
          (fleet, now) -> {
            session = fleet.session(address);
            if (session == null || closed) {
              session = null;
              requests.cancel("it was closed before it was opened", null);
              return List.of();
            }
            return fleet.opened(session, now);
          });
    }

    private void pump() {
      if (session == null || over || halfClosed) {
        return;
      }
      boolean wrote = false;
      while (requests.isReady()) {
        ConnectRequest frame = session.nextFrame(System.nanoTime());
        if (frame == null) {
          break;
        }
        requests.onNext(frame);
        wrote = true;
      }
      if (halfClosing && !session.hasFrame()) {
        halfClosed = true;
        requests.onCompleted();
      } else if (wrote) {
        engine.happen((fleet, now) -> fleet.written(now));
      }
    }

    @Override
    public void onNext(ConnectResponse frame) {
      engine.happen(
          (fleet, now) -> {
            if (session == null || over) {
              return List.of();
            }
            return fleet.received(session, frame, now);
          });
      requests.request(1);
    }

    @Override
    public void onError(Throwable error) {
      Status status = Status.fromThrowable(error);
      String text = status.getDescription() == null ? "" : ": " + status.getDescription();
      end(status.getCode() + text, status.getCode() == Status.Code.UNAVAILABLE);
    }

    @Override
    public void onCompleted() {
      end("OK", false);
    }

    private void end(String reason, boolean unavailable) {
      engine.happen(
          (fleet, now) -> {
            over = true;
            if (stream == this) {
              stream = null;
              failed = unavailable;
            }
            if (session == null || closed) {
              return List.of();
            }
            return fleet.ended(session, now, why == null ? reason : why, ThreadLocalRandom.current().nextDouble());
          });
    }
  }
}
