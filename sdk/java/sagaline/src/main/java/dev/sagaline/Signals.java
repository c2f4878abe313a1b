package dev.sagaline;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;
import sun.misc.Signal;

/** SIGTERM and SIGINT, without Java's own way of ending the process in the middle of what it does. */
final class Signals {
  private Signals() {}

  /** From now on these signals call the listener, with their name and whether one came before. */
  static void onStop(BiConsumer<String, Boolean> listener) {
    AtomicBoolean again = new AtomicBoolean();
    for (String name : new String[] {"TERM", "INT"}) {
      Signal.handle(new Signal(name), signal -> listener.accept(signal.toString(), again.getAndSet(true)));
    }
  }
}
