package dev.sagaline.workers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.zaxxer.hikari.HikariDataSource;
import dev.sagaline.ActionContext;
import dev.sagaline.FailedException;
import dev.sagaline.OutcomeException;
import dev.sagaline.Undo;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.InvocationKind;
import dev.sagaline.v1.InvocationRef;
import dev.sagaline.workers.Payment.Order;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** The barrier in a real PostgreSQL: tests/integration/java_sdk starts one. */
@EnabledIfEnvironmentVariable(named = "PGHOST", matches = ".+", disabledReason = "PGHOST names no PostgreSQL")
class PaymentTest {
  private static HikariDataSource database;
  private static Payment payment;

  private final String saga = "saga-" + UUID.randomUUID();

  @BeforeAll
  static void connect() throws SQLException {
    database = Main.database(8);
    payment = new Payment(database);
    payment.prepare();
  }

  @AfterAll
  static void disconnect() {
    database.close();
  }

  @Test
  void manyArrivalsAtOnceTakeTheMoneyOnce() throws Exception {
    allAtOnce(12, () -> assertEquals("trip@pay", take(5)));
    assertEquals("1 booked 1 released 0", rows());
    allAtOnce(
        12,
        () -> {
          giveBack(6, true);
          assertThrows(OutcomeException.class, () -> take(5));
        });
    assertEquals("0 booked 1 released 1", rows());
  }

  @Test
  void anUndoThatComesFirstLeavesATombstone() throws Exception {
    giveBack(9, false);
    FailedException refused = assertThrows(FailedException.class, () -> take(8));
    assertEquals("sagaline.Suppressed", refused.type());
    assertEquals("0 booked 0 released 0", rows());
  }

  @Test
  void anUndoOfWhatSucceededElsewhereIsHeld() {
    var refused = assertThrows(OutcomeException.class, () -> giveBack(9, true));
    assertTrue(refused.getMessage().contains("no effect of it is on record here"));
  }

  private String take(long token) throws Exception {
    return payment.take(context(false, token), new Order("trip", ""));
  }

  private void giveBack(long token, boolean known) throws Exception {
    payment.giveBack(
        context(true, token), new Undo<>(new Order("trip", ""), known ? "trip@pay" : null, known, "key", Optional.empty()));
  }

  private ActionContext context(boolean undo, long token) {
    var kind = undo ? InvocationKind.INVOCATION_KIND_UNDO : InvocationKind.INVOCATION_KIND_ACTION;
    return ActionContext.forTest(
        Invocation.newBuilder()
            .setRef(InvocationRef.newBuilder().setSagaId(saga).setNode("pay").setKind(kind))
            .setFencingToken(token)
            .build());
  }

  private String rows() throws SQLException {
    String sql =
        """
        SELECT (SELECT count(*) FROM bookings WHERE saga = '%1$s')
          || ' booked ' || (SELECT count(*) FROM effects WHERE saga = '%1$s' AND what = 'booked')
          || ' released ' || (SELECT count(*) FROM effects WHERE saga = '%1$s' AND what = 'released')"""
            .formatted(saga);
    try (Connection db = database.getConnection(); Statement statement = db.createStatement();
        ResultSet result = statement.executeQuery(sql)) {
      result.next();
      return result.getString(1);
    }
  }

  private interface Try {
    void run() throws Exception;
  }

  private static void allAtOnce(int times, Try code) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(times);
    try {
      List<Callable<Void>> calls = new ArrayList<>();
      for (int i = 0; i < times; i++) {
        calls.add(
            () -> {
              code.run();
              return null;
            });
      }
      for (Future<Void> call : pool.invokeAll(calls)) {
        call.get();
      }
    } finally {
      pool.shutdown();
    }
  }
}
