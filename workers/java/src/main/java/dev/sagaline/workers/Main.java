package dev.sagaline.workers;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import dev.sagaline.Worker;

/** Serves the payment of the polyglot trip: workers/README.md says what that is. */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws Exception {
    int slots = Integer.parseInt(env("SAGALINE_SLOTS"));
    try (HikariDataSource database = database(slots)) {
      Payment payment = new Payment(database);
      payment.prepare();
      try (Worker worker = Worker.builder(env("SAGALINE_ADDRESS")).actions(payment.action()).slots(slots).build()) {
        worker.runUntilSignal();
      }
    }
  }

  /** As many connections as attempts at most, so that none waits for one. */
  static HikariDataSource database(int slots) {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl("jdbc:postgresql://%s:%s/%s".formatted(env("PGHOST"), env("PGPORT"), env("PGDATABASE")));
    config.setUsername(env("PGUSER"));
    config.setMaximumPoolSize(slots);
    return new HikariDataSource(config);
  }

  private static String env(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalStateException(name + " is not set: workers/README.md says what this program is given");
    }
    return value;
  }
}
