package dev.sagaline.conformance;

import dev.sagaline.Worker;
import java.nio.file.Path;
import java.time.Duration;

/** What the conformance kit drives: docs/sdk-authors.md says what it serves. It uses the SDK as any program would. */
public final class Main {
  private Main() {}

  public static void main(String[] args) {
    Stage stage = new Stage(Path.of(env("SAGALINE_EFFECTS")), Path.of(env("SAGALINE_GATES")));
    Worker worker =
        Worker.builder(env("SAGALINE_ADDRESS"))
            .slots(Integer.parseInt(env("SAGALINE_SLOTS")))
            .drainTimeout(Duration.ofNanos((long) (Double.parseDouble(env("SAGALINE_DRAIN_SECONDS")) * 1e9)))
            .buildId(env("SAGALINE_BUILD_ID"))
            .actions(new Actions(stage).all())
            .build();
    worker.runUntilSignal();
  }

  private static String env(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalStateException(name + " is not set: this program is started by sagaline-conformance");
    }
    return value;
  }
}
