package dev.sagaline;

import static org.junit.jupiter.api.Assertions.*;

import dev.sagaline.v1.Payload;
import dev.sagaline.v1.Sec;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonCodecTest {
  private static final JsonCodec CODEC = JsonCodec.DEFAULT;

  enum Size {
    SMALL,
    LARGE
  }

  record Line(String item, @Name("unit_price") BigDecimal unitPrice, Size size) {}

  record Order(String id, List<Line> lines, Optional<String> note, Map<String, Long> counts) {}

  record Page<T>(T first, List<T> rest) {}

  private static Payload json(String text) {
    return Payload.newBuilder().setJson(text).build();
  }

  @Test
  void recordsComeBackAsTheyWere() {
    var line = new Line("ape \"x\" \u00e4\ud83d\ude00\n", new BigDecimal("0.10"), Size.LARGE);
    var order = new Order("o1", List.of(line), Optional.empty(), Map.of("n", 1L << 60));
    Payload payload = CODEC.encode(order);
    assertTrue(payload.getJson().contains("\"unit_price\":0.10"));
    assertFalse(payload.getJson().contains("note"));
    assertEquals(order, CODEC.decode(payload, Order.class));
  }

  @Test
  void genericRecordsKnowTheirTypes() {
    var page = new Page<>(1, List.of(2, 3));
    assertEquals(page, CODEC.decode(CODEC.encode(page), new TypeRef<Page<Integer>>() {}.type()));
  }

  @Test
  void noDigitIsLost() {
    Map<String, Object> numbers = new LinkedHashMap<>();
    numbers.put("a", 9007199254740993L);
    numbers.put("b", new BigInteger("123456789012345678901234567890"));
    numbers.put("c", new BigDecimal("1.10"));
    numbers.put("d", null);
    assertEquals(numbers, CODEC.decode(CODEC.encode(numbers), Object.class));
  }

  @Test
  void messagesGoAsTheirBytes() {
    Sec sec = Sec.newBuilder().setSecId("a").build();
    Payload payload = CODEC.encode(sec);
    assertEquals("binary/protobuf", payload.getEncoding());
    assertEquals(sec, CODEC.decode(payload, Sec.class));
    assertThrows(ConversionException.class, () -> CODEC.decode(payload, Payload.Builder.class));
    assertThrows(ConversionException.class, () -> CODEC.decode(json("{}"), Sec.class));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "-", "nul", "\"\u0001\"", "\"\\x\"", "\"\\u12\"", "1 2", "{1:2}", "+1", "NaN", "\"", "1e"
      })
  void whatIsNoJsonIsRefused(String text) {
    assertThrows(ConversionException.class, () -> CODEC.decode(json(text), Object.class));
  }

  @Test
  void nestingHasAnEnd() {
    assertThrows(ConversionException.class, () -> CODEC.decode(json("[".repeat(100_000)), Object.class));
  }

  @Test
  void whatDoesNotFitIsTold() {
    for (String text :
        List.of("{\"first\":\"three\",\"rest\":[]}", "{\"rest\":[]}", "{\"first\":1.5,\"rest\":[]}", "{\"first\":null,\"rest\":[]}",
            "{\"first\":1e400,\"rest\":[]}", "{\"first\":99999999999,\"rest\":[]}", "7", "{\"first\":1,\"rest\":2}")) {
      var type = new TypeRef<Page<Integer>>() {}.type();
      assertThrows(ConversionException.class, () -> CODEC.decode(json(text), type), text);
    }
  }

  @Test
  void whatCannotBeJsonIsRefused() {
    assertThrows(ConversionException.class, () -> CODEC.encode(Double.NaN));
    assertThrows(ConversionException.class, () -> CODEC.encode(new Object()));
  }
}
