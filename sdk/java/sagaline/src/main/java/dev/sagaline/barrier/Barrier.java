package dev.sagaline.barrier;

import com.google.protobuf.InvalidProtocolBufferException;
import dev.sagaline.Action;
import dev.sagaline.ActionContext;
import dev.sagaline.FailedException;
import dev.sagaline.HoldException;
import dev.sagaline.JsonCodec;
import dev.sagaline.PayloadCodec;
import dev.sagaline.RetryException;
import dev.sagaline.Undo;
import dev.sagaline.barrier.Rules.Answer;
import dev.sagaline.barrier.Rules.Arrival;
import dev.sagaline.barrier.Rules.Decision;
import dev.sagaline.barrier.Rules.Row;
import dev.sagaline.barrier.Rules.State;
import dev.sagaline.v1.Failure;
import dev.sagaline.v1.FailureDisposition;
import dev.sagaline.v1.FailureSource;
import dev.sagaline.v1.Payload;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.sql.DataSource;

/**
 * Makes one effect of everything that may arrive for a node: attempts that come again, come late, come after their undo, or
 * never came. It works inside your own transaction, with one row for each node that is written together with the change your
 * action makes, and shares its table with the barriers of the other SDKs. docs/barrier.md says what it asks of you, and how
 * long rows stand.
 *
 * <p>Change nothing but what you reach through the connection that you are given, and do not end its transaction.
 */
public final class Barrier {
  public static final String DEFAULT_TABLE = "sagaline_barrier";

  /** User code of an action, in the barrier's transaction. */
  @FunctionalInterface
  public interface Body<I, O> {
    O run(Connection db, ActionContext context, I input) throws Exception;
  }

  /** User code of an undo action, in the barrier's transaction. It runs only where the action's change was made. */
  @FunctionalInterface
  public interface UndoBody<I, O> {
    void run(Connection db, ActionContext context, Undo<I, O> undo) throws Exception;
  }

  /** User code: it gets the recorded output, and gives the one to record. */
  private interface Code {
    byte[] run(Connection db, byte[] recorded) throws Exception;
  }

  /** Tries to write or read a row that is removed in between. */
  private static final int ARRIVALS_MAX = 3;
  /** Tries of a transaction that the database ends because of others at the same time. */
  private static final int CONTENTION_TRIES = 3;

  private final DataSource source;
  private final Table table;
  private final String scope;
  private final Duration horizon;
  private final Duration sagaLifetime;
  private final PayloadCodec codec = JsonCodec.DEFAULT;

  private Barrier(DataSource source, Table table, String scope, Duration horizon, Duration sagaLifetime) {
    if (horizon.isNegative() || (sagaLifetime != null && sagaLifetime.isNegative())) {
      throw new IllegalArgumentException("horizon and saga lifetime are positive, and better too long than too short");
    }
    this.source = source;
    this.table = table;
    this.scope = scope;
    this.horizon = horizon;
    this.sagaLifetime = sagaLifetime;
  }

  /** A barrier over the table "sagaline_barrier", with a horizon of 30 days. */
  public static Barrier of(DataSource source, Dialect dialect) {
    return of(source, dialect, DEFAULT_TABLE, "", Duration.ofDays(30), null);
  }

  /**
   * The scope tells barriers of an action apart that changes more than one database. Rows stand for the horizon after they
   * have changed last; those of actions that are done until {@link #sagaEnded}, unless a lifetime of sagas is given.
   */
  public static Barrier of(
      DataSource source, Dialect dialect, String table, String scope, Duration horizon, Duration sagaLifetime) {
    return new Barrier(source, new Table(dialect, table), scope, horizon, sagaLifetime);
  }

  /** The statements that make the table, for migrations. */
  public static List<String> schema(Dialect dialect, String table) {
    return new Table(dialect, table).schema();
  }

  /** Makes the table if it is not there. */
  public void createTable() throws SQLException {
    try (Connection db = source.getConnection(); Statement statement = db.createStatement()) {
      for (String sql : table.schema()) {
        statement.execute(sql);
      }
    }
  }

  /** Lets the rows of a saga's done actions go once the horizon has passed. */
  public void sagaEnded(String sagaId) throws SQLException {
    try (Connection db = source.getConnection()) {
      table.sagaEnded(db, sagaId, Instant.now().plus(horizon));
    }
  }

  /** Removes up to so many rows whose time has passed, oldest first, and says how many. */
  public int expire(int limit) throws SQLException {
    try (Connection db = source.getConnection()) {
      return table.expire(db, Instant.now(), limit);
    }
  }

  /**
   * An action whose change is made once in effect. FailedException takes back what it did and is recorded; every other
   * exception rolls back all.
   */
  public <I, O> Action.Body<I, O> action(Class<O> output, Body<I, O> body) {
    return (context, input) -> {
      byte[] recorded =
          guard(context, false, (db, nothing) -> codec.encode(body.run(db, context, input)).toByteArray());
      return decode(recorded, output);
    };
  }

  /** An undo action whose change is made once in effect; its output comes from the record, which knows it for certain. */
  public <I, O> Action.UndoBody<I, O> undo(Class<O> output, UndoBody<I, O> body) {
    return (context, undo) ->
        guard(
            context,
            undo.known(),
            (db, recorded) -> {
              O out = decode(recorded, output);
              body.run(db, context, new Undo<>(undo.input(), out, true, undo.actionKey(), undo.sagaFailure()));
              return null;
            });
  }

  private <O> O decode(byte[] recorded, Class<O> type) throws InvalidProtocolBufferException {
    if (recorded == null) {
      throw new IllegalStateException("the action's output is not on record: its code ended the barrier's transaction itself");
    }
    Object value = codec.decode(Payload.parseFrom(recorded), type);
    @SuppressWarnings("unchecked") // the codec was asked for this type
    O out = (O) value;
    return out;
  }

  // ---- inside

  /** The output of an action, recorded or fresh; null for an undo action. */
  private byte[] guard(ActionContext context, boolean actionSucceeded, Code code) throws Exception {
    var key = new Table.Key(context.sagaId(), context.node(), scope);
    var arrival = new Arrival(context.isUndo(), context.fencingToken(), digest(context.inputs()), actionSucceeded);
    for (int attempt = 1; ; attempt++) {
      try (Connection db = source.getConnection()) {
        return transact(db, key, arrival, code);
      } catch (SQLException e) {
        // Serialization failure, or deadlock: the database ended it because of others.
        boolean contended = "40001".equals(e.getSQLState()) || "40P01".equals(e.getSQLState());
        if (!contended || attempt == CONTENTION_TRIES) {
          throw e;
        }
      }
    }
  }

  private byte[] transact(Connection db, Table.Key key, Arrival arrival, Code code) throws Exception {
    boolean autoCommit = db.getAutoCommit();
    db.setAutoCommit(false);
    boolean committed = false;
    try {
      byte[] output = null;
      FailedException failed = null;
      Row[] found = {Row.NONE};
      Decision decision = arrive(db, key, arrival, found);
      if (decision.answer() == Answer.RUN) {
        try {
          output = run(db, key, arrival, found[0], decision, code);
        } catch (RecordedFailure recorded) {
          failed = recorded.failed;
        }
      } else if (decision.answer() == Answer.OUTPUT) {
        output = found[0].output();
      } else if (decision.answer() == Answer.FAILURE) {
        failed = failureOf(found[0].failure());
      }
      db.commit();
      committed = true;
      if (failed != null) {
        throw failed;
      }
      return output;
    } finally {
      if (!committed) {
        db.rollback();
      }
      db.setAutoCommit(autoCommit);
    }
  }

  /** The action failed, and that is on record: to be committed, and then thrown. */
  private static final class RecordedFailure extends Exception {
    private static final long serialVersionUID = 1;

    final transient FailedException failed;

    RecordedFailure(FailedException failed) {
      super(failed);
      this.failed = failed;
    }
  }

  private byte[] run(Connection db, Table.Key key, Arrival arrival, Row row, Decision decision, Code code) throws Exception {
    if (arrival.isUndo()) {
      code.run(db, row.output());
      record(db, key, arrival, decision.to(), null, null);
      return null;
    }
    Savepoint before = db.setSavepoint();
    try {
      byte[] output = code.run(db, null);
      db.releaseSavepoint(before);
      record(db, key, arrival, decision.to(), output, null);
      return output;
    } catch (FailedException e) {
      db.rollback(before);
      record(db, key, arrival, State.FAILED, null, messageOf(e).toByteArray());
      throw new RecordedFailure(e);
    }
  }

  private Failure messageOf(FailedException e) {
    var failure =
        Failure.newBuilder()
            .setType(e.type())
            .setMessage(e.getMessage() == null ? "" : e.getMessage())
            .setDisposition(FailureDisposition.FAILURE_DISPOSITION_FAIL)
            .setSource(FailureSource.FAILURE_SOURCE_APPLICATION);
    e.details().forEach(detail -> failure.addDetails(codec.encode(detail)));
    return failure.build();
  }

  private static FailedException failureOf(byte[] recorded) throws InvalidProtocolBufferException {
    Failure failure = Failure.parseFrom(recorded);
    return new FailedException(failure.getType(), failure.getMessage(), null, failure.getDetailsList().toArray());
  }

  /** Writes the node's row if it has none, else reads it; and records what needs no user code. */
  private Decision arrive(Connection db, Table.Key key, Arrival arrival, Row[] found) throws SQLException {
    Decision fresh = Rules.decide(Row.NONE, arrival);
    Decision decision = null;
    boolean claimed = false;
    for (int i = 0; i < ARRIVALS_MAX && decision == null; i++) {
      Instant at = Instant.now();
      claimed = fresh.to() != null && table.claim(db, key, arrival, fresh.to(), at, expires(fresh.to(), at));
      Row row = claimed ? Row.NONE : table.read(db, key);
      if (row != null || fresh.to() == null) {
        found[0] = row == null ? Row.NONE : row;
        decision = Rules.decide(found[0], arrival);
      }
    }
    if (decision == null) {
      throw new RetryException("sagaline.BarrierBusy", "the record of " + key + " is removed again and again");
    }
    refuse(decision.answer());
    if (!claimed && decision.answer() != Answer.RUN) {
      if (decision.to() != null) {
        record(db, key, arrival, decision.to(), null, null);
      } else if (decision.raisesToken()) {
        table.raiseToken(db, key, arrival, Instant.now());
      }
    }
    return decision;
  }

  private static void refuse(Answer answer) {
    switch (answer) {
      case SUPPRESSED ->
          throw new FailedException("sagaline.Suppressed", "the node was undone before this attempt of its action arrived");
      case STALE -> throw new RetryException("sagaline.StaleToken", "a later attempt of the node was here");
      case MISMATCH -> throw new HoldException("sagaline.InputMismatch", "the node is on record with other inputs than these");
      case NOT_RECORDED ->
          throw new HoldException(
              "sagaline.NotRecorded",
              "the action succeeded, and no effect of it is on record here: the record expired, or this is not the database"
                  + " that it changed");
      default -> {}
    }
  }

  private void record(Connection db, Table.Key key, Arrival arrival, State to, byte[] output, byte[] failure)
      throws SQLException {
    Instant at = Instant.now();
    table.record(db, key, arrival, to, output, failure, at, expires(to, at));
  }

  /** A done action can be undone as long as its saga lives; nothing else is waited for but late messages. */
  private Instant expires(State to, Instant at) {
    if (to == State.DONE) {
      return sagaLifetime == null ? null : at.plus(horizon).plus(sagaLifetime);
    }
    return at.plus(horizon);
  }

  /**
   * The SHA-256 of a node's inputs, the same in every language: for each input in the order of its name's bytes the name;
   * "json" and the text, or "data", the encoding and the data; the number of metadata as 8 bytes; each key and its text, by
   * key. Each of these is preceded by its length. Lengths and numbers are 8 bytes, big-endian.
   */
  static byte[] digest(Map<String, Payload> inputs) {
    MessageDigest hash;
    try {
      hash = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
    sorted(inputs)
        .forEach(
            (name, payload) -> {
              add(hash, name);
              if (payload.hasData()) {
                add(hash, "data".getBytes(StandardCharsets.UTF_8));
                add(hash, payload.getEncoding().getBytes(StandardCharsets.UTF_8));
                add(hash, payload.getData().toByteArray());
              } else {
                add(hash, "json".getBytes(StandardCharsets.UTF_8));
                add(hash, (payload.hasJson() ? payload.getJson() : "null").getBytes(StandardCharsets.UTF_8));
              }
              add(hash, number(payload.getMetadataCount()));
              sorted(payload.getMetadataMap())
                  .forEach(
                      (key, text) -> {
                        add(hash, key);
                        add(hash, text.getBytes(StandardCharsets.UTF_8));
                      });
            });
    return hash.digest();
  }

  /** Strings sort by UTF-16 in Java, and by bytes here. */
  private static <T> Map<byte[], T> sorted(Map<String, T> map) {
    Map<byte[], T> sorted = new TreeMap<>(Arrays::compareUnsigned);
    map.forEach((name, value) -> sorted.put(name.getBytes(StandardCharsets.UTF_8), value));
    return sorted;
  }

  private static void add(MessageDigest hash, byte[] part) {
    hash.update(number(part.length));
    hash.update(part);
  }

  private static byte[] number(long n) {
    return ByteBuffer.allocate(8).putLong(n).array();
  }
}
