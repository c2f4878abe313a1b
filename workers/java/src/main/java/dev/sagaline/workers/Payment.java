package dev.sagaline.workers;

import dev.sagaline.Action;
import dev.sagaline.ActionContext;
import dev.sagaline.FailedException;
import dev.sagaline.Undo;
import dev.sagaline.barrier.Barrier;
import dev.sagaline.barrier.Dialect;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import javax.sql.DataSource;

/** Takes the money for a trip, and gives it back. */
final class Payment {
  /** Inputs of the action. */
  record Order(String item, String trouble) {}

  private static final String NODE = "pay";
  private static final long SLOW_MS = 300;

  private final DataSource database;
  private final Barrier barrier;
  private final Action.Body<Order, String> take;
  private final Action.UndoBody<Order, String> giveBack;

  Payment(DataSource database) {
    this.database = database;
    barrier = Barrier.of(database, Dialect.POSTGRESQL);
    take = barrier.action(String.class, Payment::book);
    giveBack = barrier.undo(String.class, Payment::release);
  }

  void prepare() throws SQLException {
    barrier.createTable();
    try (Connection db = database.getConnection(); Statement statement = db.createStatement()) {
      statement.execute("CREATE TABLE IF NOT EXISTS bookings (saga text PRIMARY KEY, item text NOT NULL)");
      statement.execute(
          "CREATE TABLE IF NOT EXISTS effects (number bigserial PRIMARY KEY, saga text NOT NULL, what text NOT NULL)");
    }
  }

  Action<Order, String> action() {
    return Action.of("polyglot.pay", Order.class, String.class, this::take).undo(this::giveBack).barrier();
  }

  String take(ActionContext context, Order order) throws Exception {
    if (order.trouble().equals(NODE)) {
      throw new FailedException("SoldOut", "the card is at its limit");
    }
    if (order.trouble().equals("slow")) {
      Thread.sleep(SLOW_MS); // outside of the transaction
    }
    return take.run(context, order);
  }

  void giveBack(ActionContext context, Undo<Order, String> undo) throws Exception {
    giveBack.run(context, undo);
  }

  private static String book(Connection db, ActionContext context, Order order) throws SQLException {
    execute(db, "INSERT INTO bookings (saga, item) VALUES (?, ?)", context.sagaId(), order.item());
    execute(db, "INSERT INTO effects (saga, what) VALUES (?, 'booked')", context.sagaId());
    return order.item() + "@" + NODE;
  }

  private static void release(Connection db, ActionContext context, Undo<Order, String> undo) throws SQLException {
    if (execute(db, "DELETE FROM bookings WHERE saga = ?", context.sagaId()) == 1) {
      execute(db, "INSERT INTO effects (saga, what) VALUES (?, 'released')", context.sagaId());
    }
  }

  private static int execute(Connection db, String sql, String... values) throws SQLException {
    try (PreparedStatement statement = db.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) {
        statement.setString(i + 1, values[i]);
      }
      return statement.executeUpdate();
    }
  }
}
