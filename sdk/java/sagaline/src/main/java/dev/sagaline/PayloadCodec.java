package dev.sagaline;

import dev.sagaline.v1.Payload;
import java.lang.reflect.Type;

/**
 * Turns values into payloads and back. {@link JsonCodec#DEFAULT} does records, maps, lists, strings, numbers and protobuf
 * messages; write one over your own JSON library where that is not enough, and let it pass protobuf messages on.
 */
public interface PayloadCodec {
  /** Throws {@link ConversionException} where a value can't be a payload. */
  Payload encode(Object value);

  /** A value of this type; throws {@link ConversionException} where the payload does not fit it. */
  Object decode(Payload payload, Type type);
}
