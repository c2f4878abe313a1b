package dev.sagaline.barrier;

import java.util.Arrays;

/** What becomes of an arrival: the whole machine of docs/barrier.md, without a database. */
final class Rules {
  /** What is recorded of a node. */
  enum State {
    NOTHING,
    /** The action had its effect, and its output is recorded. */
    DONE,
    /** The action failed without effect, and its failure is recorded. */
    FAILED,
    /** The effect was there and has been reversed. */
    UNDONE,
    /** There was no effect when the undo action came, and there will never be one. */
    CANCELLED
  }

  enum Answer {
    /** The user's code runs, and how it ends is the answer. */
    RUN,
    OUTPUT,
    FAILURE,
    /** The node was undone before. */
    SUPPRESSED,
    /** Nothing has to run. */
    UNDONE,
    /** A later attempt has been here. */
    STALE,
    /** The node was recorded with other inputs. */
    MISMATCH,
    /** The action succeeded, and nothing is known of it here. */
    NOT_RECORDED
  }

  record Row(State state, long token, byte[] digest, byte[] output, byte[] failure) {
    static final Row NONE = new Row(State.NOTHING, 0, null, null, null);
  }

  /** One attempt as it reaches the barrier; actionSucceeded: the SEC has the action's success in its log. */
  record Arrival(boolean isUndo, long token, byte[] digest, boolean actionSucceeded) {}

  /** To is null where the state stays; raisesToken: the token is then to be recorded although. */
  record Decision(Answer answer, State to, boolean raisesToken) {}

  private Rules() {}

  /** A refusal changes nothing. UNDONE and CANCELLED are final, and true for everybody: undo wins. */
  static Decision decide(Row row, Arrival arrival) {
    boolean fenced = row.state == State.DONE || row.state == State.FAILED;
    if (fenced && arrival.token < row.token) {
      return new Decision(Answer.STALE, null, false);
    }
    if (fenced && !Arrays.equals(arrival.digest, row.digest)) {
      return new Decision(Answer.MISMATCH, null, false);
    }
    boolean nothingToUndo = arrival.isUndo && (row.state == State.NOTHING || row.state == State.FAILED);
    if (nothingToUndo && arrival.actionSucceeded) {
      return new Decision(Answer.NOT_RECORDED, null, false);
    }
    if (arrival.isUndo) {
      return switch (row.state) {
        case NOTHING, FAILED -> new Decision(Answer.UNDONE, State.CANCELLED, false);
        case DONE -> new Decision(Answer.RUN, State.UNDONE, false);
        case UNDONE, CANCELLED -> new Decision(Answer.UNDONE, null, false);
      };
    }
    boolean raises = arrival.token > row.token;
    return switch (row.state) {
      case NOTHING -> new Decision(Answer.RUN, State.DONE, false);
      case DONE -> new Decision(Answer.OUTPUT, null, raises);
      case FAILED -> new Decision(Answer.FAILURE, null, raises);
      case UNDONE, CANCELLED -> new Decision(Answer.SUPPRESSED, null, false);
    };
  }
}
