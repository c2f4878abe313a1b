package dev.sagaline.conformance;

import dev.sagaline.ActionContext;
import dev.sagaline.JsonCodec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BooleanSupplier;

/** Where effects are noted and gates are looked for. */
final class Stage {
  private final Path effects;
  private final Path gates;

  Stage(Path effects, Path gates) {
    this.effects = effects;
    this.gates = gates;
  }

  /** Appends one line. The file is opened for it alone: an interrupted thread closes the channel that it writes. */
  void note(ActionContext context, String event, Object told) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("event", event);
    line.put("action", context.action());
    line.put("kind", context.isUndo() ? "undo" : "action");
    line.put("saga", context.sagaId());
    line.put("node", context.node());
    line.put("attempt", context.attempt());
    if (told != null) {
      line.put("told", told);
    }
    byte[] text = (JsonCodec.DEFAULT.encode(line).getJson() + "\n").getBytes(StandardCharsets.UTF_8);
    boolean interrupted = Thread.interrupted();
    try (FileChannel file = FileChannel.open(effects, StandardOpenOption.APPEND, StandardOpenOption.CREATE)) {
      file.write(ByteBuffer.wrap(text));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  boolean isOpen(String gate) {
    return Files.exists(gates.resolve(gate));
  }

  /** Waits for a gate; an interruption ends that, and so does something that has come true. Says whether it is open. */
  boolean await(String gate, BooleanSupplier until) throws InterruptedException {
    while (!isOpen(gate)) {
      if (until.getAsBoolean()) {
        return false;
      }
      Thread.sleep(10);
    }
    return true;
  }

  /** Waits for a gate whatever comes. */
  void awaitStubbornly(String gate) {
    while (!isOpen(gate)) {
      try {
        Thread.sleep(10);
      } catch (InterruptedException e) {
        continue; // that is what stubborn means
      }
    }
  }
}
