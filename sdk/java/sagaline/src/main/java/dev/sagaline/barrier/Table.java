package dev.sagaline.barrier;

import dev.sagaline.barrier.Rules.Arrival;
import dev.sagaline.barrier.Rules.Row;
import dev.sagaline.barrier.Rules.State;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.regex.Pattern;

/** The statements of one barrier's table. Nothing here decides anything. */
final class Table {
  /** Names a row: by saga and node alone, so that every attempt has the same one. */
  record Key(String saga, String node, String scope) {}

  private static final Pattern NAME = Pattern.compile("([A-Za-z_][A-Za-z0-9_]{0,47}\\.)?[A-Za-z_][A-Za-z0-9_]{0,47}");
  private static final DateTimeFormatter TEXT_TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSSxxx");
  private static final String WHERE = " WHERE saga_id = ? AND node = ? AND scope = ?";

  private final Dialect dialect;
  private final String name;

  Table(Dialect dialect, String name) {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(name + " can't be the name of a table: give [schema.]name, letters and digits");
    }
    this.dialect = dialect;
    this.name = name;
  }

  List<String> schema() {
    boolean postgres = dialect == Dialect.POSTGRESQL;
    String bytes = postgres ? "bytea" : "BLOB";
    String time = postgres ? "timestamptz" : "TEXT";
    String home = name.contains(".") ? name.substring(0, name.indexOf('.') + 1) : "";
    String simple = name.substring(home.length());
    String table =
        """
        CREATE TABLE IF NOT EXISTS %s (
          saga_id        text NOT NULL,
          node           text NOT NULL,
          scope          text NOT NULL DEFAULT '',  -- which of several databases that one action changes
          state          text NOT NULL CHECK (state IN ('DONE', 'FAILED', 'UNDONE', 'CANCELLED')),
          fencing_token  %s NOT NULL,  -- highest that was let in
          input_digest   %s NOT NULL,  -- SHA-256 of the action's inputs
          output         %s,  -- sagaline.v1.Payload, of DONE and UNDONE
          failure        %s,  -- sagaline.v1.Failure, of FAILED
          created_at     %s NOT NULL,
          updated_at     %s NOT NULL,
          expires_at     %s,  -- when the row may be removed, NULL while its saga may need it
          PRIMARY KEY (saga_id, node, scope)
        )%s"""
            .formatted(
                name, postgres ? "bigint" : "INTEGER", bytes, bytes, bytes, time, time, time, postgres ? "" : " WITHOUT ROWID");
    // An index is where its table is: SQLite wants that said of the index, PostgreSQL of the table.
    String index =
        "CREATE INDEX IF NOT EXISTS %s_expires_at ON %s (expires_at) WHERE expires_at IS NOT NULL"
            .formatted(postgres ? simple : name, postgres ? name : simple);
    return List.of(table, index);
  }

  /** Writes the node's row if it has none: of several that try one succeeds, and the others wait for its end. */
  boolean claim(Connection db, Key key, Arrival arrival, State to, Instant at, Instant expires) throws SQLException {
    String sql =
        "INSERT INTO " + name + " (saga_id, node, scope, state, fencing_token, input_digest, created_at, updated_at, expires_at)"
            + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (saga_id, node, scope) DO NOTHING";
    return update(
            db, sql, key.saga, key.node, key.scope, to.name(), arrival.token(), arrival.digest(), at, at, new Time(expires))
        == 1;
  }

  /** The row, or null; from here on nobody else writes it. */
  Row read(Connection db, Key key) throws SQLException {
    boolean postgres = dialect == Dialect.POSTGRESQL;
    if (!postgres) {
      update(db, "UPDATE " + name + " SET scope = scope" + WHERE, key.saga, key.node, key.scope); // where reading locks nothing
    }
    String sql = "SELECT state, fencing_token, input_digest, output, failure FROM " + name + WHERE + (postgres ? " FOR UPDATE" : "");
    try (PreparedStatement statement = db.prepareStatement(sql)) {
      bind(statement, key.saga, key.node, key.scope);
      try (ResultSet rows = statement.executeQuery()) {
        return rows.next()
            ? new Row(State.valueOf(rows.getString(1)), rows.getLong(2), rows.getBytes(3), rows.getBytes(4), rows.getBytes(5))
            : null;
      }
    }
  }

  void record(Connection db, Key key, Arrival arrival, State to, byte[] output, byte[] failure, Instant at, Instant expires)
      throws SQLException {
    String sql =
        "UPDATE " + name + " SET state = ?, fencing_token = ?, output = coalesce(?, output), failure = coalesce(?, failure),"
            + " updated_at = ?, expires_at = ?" + WHERE;
    update(
        db, sql, to.name(), arrival.token(), new Bytes(output), new Bytes(failure), at, new Time(expires), key.saga, key.node,
        key.scope);
  }

  void raiseToken(Connection db, Key key, Arrival arrival, Instant at) throws SQLException {
    String sql = "UPDATE " + name + " SET fencing_token = ?, updated_at = ?" + WHERE;
    update(db, sql, arrival.token(), at, key.saga, key.node, key.scope);
  }

  int expire(Connection db, Instant before, int limit) throws SQLException {
    String due = "FROM " + name + " WHERE expires_at < ? ORDER BY expires_at LIMIT ?";
    if (dialect == Dialect.POSTGRESQL) {
      // An array, because a subquery with a LIMIT may be run more than once.
      return update(
          db, "DELETE FROM " + name + " WHERE ctid = ANY (ARRAY(SELECT ctid " + due + " FOR UPDATE SKIP LOCKED))", before, limit);
    }
    return update(
        db, "DELETE FROM " + name + " WHERE (saga_id, node, scope) IN (SELECT saga_id, node, scope " + due + ")", before, limit);
  }

  void sagaEnded(Connection db, String saga, Instant expires) throws SQLException {
    update(db, "UPDATE " + name + " SET expires_at = ? WHERE saga_id = ? AND expires_at IS NULL", expires, saga);
  }

  /** Values that may be null need their type said. */
  private record Bytes(byte[] value) {}

  private record Time(Instant value) {}

  private int update(Connection db, String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = db.prepareStatement(sql)) {
      bind(statement, values);
      return statement.executeUpdate();
    }
  }

  private void bind(PreparedStatement statement, Object... values) throws SQLException {
    for (int i = 0; i < values.length; i++) {
      Object value = values[i];
      if (value instanceof Bytes bytes) {
        if (bytes.value == null) {
          statement.setNull(i + 1, Types.BINARY);
        } else {
          statement.setBytes(i + 1, bytes.value);
        }
      } else if (value instanceof Time time) {
        if (time.value == null) {
          statement.setNull(i + 1, dialect == Dialect.POSTGRESQL ? Types.TIMESTAMP_WITH_TIMEZONE : Types.VARCHAR);
        } else {
          statement.setObject(i + 1, time(time.value));
        }
      } else if (value instanceof byte[] bytes) {
        statement.setBytes(i + 1, bytes);
      } else {
        statement.setObject(i + 1, value instanceof Instant instant ? time(instant) : value);
      }
    }
  }

  /** SQLite has no type for times, so they are text that sorts as the times do. */
  private Object time(Instant at) {
    OffsetDateTime utc = at.atOffset(ZoneOffset.UTC);
    return dialect == Dialect.POSTGRESQL ? utc : TEXT_TIME.format(utc);
  }
}
