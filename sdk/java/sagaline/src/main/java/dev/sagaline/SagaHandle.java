package dev.sagaline;

import dev.sagaline.v1.Saga;
import java.lang.reflect.Type;
import java.util.concurrent.CompletableFuture;

/** A saga whose result is of type R. */
public final class SagaHandle<R> {
  private final Client client;
  private final String id;
  private final Type type;

  SagaHandle(Client client, String id, Type type) {
    this.client = client;
    this.id = id;
    this.type = type;
  }

  public String id() {
    return id;
  }

  /**
   * The result, when the saga has succeeded. Ends with {@link UnwoundException} if it has unwound, and with {@link
   * NeedsOperatorException} if only an operator can bring it further: then ask again when that is done.
   */
  public CompletableFuture<R> result() {
    return client.resultOf(client.awaitSaga(id, true), type);
  }

  /** The saga with its nodes, as it stands. */
  public CompletableFuture<Saga> get() {
    return client.get(id);
  }

  @Override
  public String toString() {
    return "saga " + id;
  }
}
