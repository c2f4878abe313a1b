package dev.sagaline.barrier;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.protobuf.ByteString;
import dev.sagaline.barrier.Rules.Answer;
import dev.sagaline.barrier.Rules.Arrival;
import dev.sagaline.barrier.Rules.Row;
import dev.sagaline.barrier.Rules.State;
import dev.sagaline.v1.Payload;
import java.util.HexFormat;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RulesTest {
  private static final byte[] INPUTS = {1};

  /** The digest of the other SDKs for the same inputs, so that all can share a table. */
  @Test
  void theDigestIsThatOfTheOtherLanguages() {
    Map<String, Payload> inputs =
        Map.of(
            "b", Payload.newBuilder().setJson("\"Ada\"").build(),
            "a",
                Payload.newBuilder()
                    .setData(ByteString.copyFrom(new byte[] {1, 2}))
                    .setEncoding("binary/protobuf")
                    .putMetadata("message_type", "x.Y")
                    .putMetadata("k", "v")
                    .build(),
            "\u00e9", Payload.getDefaultInstance());
    assertEquals(
        "6d6a13e07f03988d8278e5b12436b75879e674e8e79b9b174252e28b2d3d26bd", HexFormat.of().formatHex(Barrier.digest(inputs)));
  }

  @ParameterizedTest
  @CsvSource({
    "NOTHING, false, RUN, DONE", "DONE, false, OUTPUT,", "FAILED, false, FAILURE,", "UNDONE, false, SUPPRESSED,",
    "CANCELLED, false, SUPPRESSED,", "NOTHING, true, UNDONE, CANCELLED", "DONE, true, RUN, UNDONE",
    "FAILED, true, UNDONE, CANCELLED", "UNDONE, true, UNDONE,", "CANCELLED, true, UNDONE,"
  })
  void whatArrivesIsAnsweredAsTheTableSays(State state, boolean undo, Answer answer, State to) {
    var decision = Rules.decide(new Row(state, 5, INPUTS, null, null), new Arrival(undo, 5, INPUTS, false));
    assertEquals(answer, decision.answer());
    assertEquals(to, decision.to());
  }

  @Test
  void whatCanStillChangeIsFenced() {
    for (State state : new State[] {State.DONE, State.FAILED}) {
      Row row = new Row(state, 5, INPUTS, null, null);
      for (boolean undo : new boolean[] {false, true}) {
        assertEquals(Answer.STALE, Rules.decide(row, new Arrival(undo, 4, INPUTS, false)).answer());
        assertEquals(Answer.MISMATCH, Rules.decide(row, new Arrival(undo, 6, new byte[] {2}, false)).answer());
      }
    }
  }

  @Test
  void aSuccessWithoutARecordIsHeld() {
    assertEquals(Answer.NOT_RECORDED, Rules.decide(Row.NONE, new Arrival(true, 1, INPUTS, true)).answer());
  }
}
