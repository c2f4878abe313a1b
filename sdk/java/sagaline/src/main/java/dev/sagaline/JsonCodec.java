package dev.sagaline;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import dev.sagaline.v1.Payload;
import java.lang.reflect.Array;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * Protobuf messages go as their bytes ({@code binary/protobuf}), everything else as JSON: records by their components, maps,
 * lists, sets, arrays, strings, numbers, booleans, enums by name, {@link Optional}, UUID, and Instant, LocalDate and Duration
 * in ISO 8601. Fields that a record does not have are ignored; a component that is missing, or null, must be an Optional.
 */
public final class JsonCodec implements PayloadCodec {
  public static final JsonCodec DEFAULT = new JsonCodec();

  private static final String PROTOBUF = "binary/protobuf";
  private static final String MESSAGE_TYPE = "message_type";
  private static final Payload NULL = Payload.newBuilder().setJson("null").build();

  private JsonCodec() {}

  // ---- to payloads

  @Override
  public Payload encode(Object value) {
    if (value == null) {
      return NULL;
    }
    if (value instanceof Payload payload) {
      return payload;
    }
    if (value instanceof Message message) {
      return Payload.newBuilder()
          .setData(message.toByteString())
          .setEncoding(PROTOBUF)
          .putMetadata(MESSAGE_TYPE, message.getDescriptorForType().getFullName())
          .build();
    }
    StringBuilder text = new StringBuilder();
    write(value, text, 0);
    return Payload.newBuilder().setJson(text.toString()).build();
  }

  private void write(Object value, StringBuilder text, int depth) {
    if (depth > 200) {
      throw new ConversionException("a value nested deeper than 200, or in itself");
    }
    if (value == null || value instanceof Boolean) {
      text.append(value);
    } else if (value instanceof Number number) {
      text.append(numberText(number));
    } else if (value instanceof CharSequence || value instanceof Character || value instanceof UUID
        || value instanceof Instant || value instanceof LocalDate || value instanceof Duration) {
      quote(value.toString(), text);
    } else if (value instanceof Enum<?> constant) {
      quote(constant.name(), text);
    } else if (value instanceof Optional<?> optional) {
      write(optional.orElse(null), text, depth + 1);
    } else if (value instanceof byte[] bytes) {
      quote(Base64.getEncoder().encodeToString(bytes), text);
    } else if (value instanceof Map<?, ?> map) {
      writeMap(map, text, depth);
    } else if (value instanceof Record record) {
      writeMap(components(record), text, depth);
    } else if (value instanceof Collection<?> items) {
      writeAll(items, text, depth);
    } else if (value.getClass().isArray()) {
      List<Object> items = new ArrayList<>();
      for (int i = 0; i < Array.getLength(value); i++) {
        items.add(Array.get(value, i));
      }
      writeAll(items, text, depth);
    } else {
      throw new ConversionException("a value of " + value.getClass().getName() + " can't be JSON: use a record or a map");
    }
  }

  private static String numberText(Number number) {
    if ((number instanceof Double d && !Double.isFinite(d)) || (number instanceof Float f && !Float.isFinite(f))) {
      throw new ConversionException(number + " can't be JSON");
    }
    return number.toString();
  }

  private void writeAll(Collection<?> items, StringBuilder text, int depth) {
    char before = '[';
    for (Object item : items) {
      text.append(before);
      write(item, text, depth + 1);
      before = ',';
    }
    text.append(items.isEmpty() ? "[]" : "]");
  }

  private void writeMap(Map<?, ?> map, StringBuilder text, int depth) {
    char before = '{';
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      text.append(before);
      if (entry.getKey() == null) {
        throw new ConversionException("a map with the key null can't be JSON");
      }
      quote(entry.getKey() instanceof Enum<?> constant ? constant.name() : entry.getKey().toString(), text);
      text.append(':');
      write(entry.getValue(), text, depth + 1);
      before = ',';
    }
    text.append(map.isEmpty() ? "{}" : "}");
  }

  /** The components of a record by their names in JSON; an empty Optional is left out. */
  private static Map<String, Object> components(Record record) {
    Map<String, Object> fields = new LinkedHashMap<>();
    for (RecordComponent component : record.getClass().getRecordComponents()) {
      try {
        component.getAccessor().setAccessible(true);
        Object value = component.getAccessor().invoke(record);
        if (!(value instanceof Optional<?> optional) || optional.isPresent()) {
          fields.put(nameOf(component), value);
        }
      } catch (ReflectiveOperationException | RuntimeException e) {
        throw new ConversionException(record.getClass().getName() + "." + component.getName() + " can't be read", e);
      }
    }
    return fields;
  }

  static String nameOf(RecordComponent component) {
    Name name = component.getAnnotation(Name.class);
    return name == null ? component.getName() : name.value();
  }

  private static void quote(String value, StringBuilder text) {
    text.append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      boolean lone =
          Character.isHighSurrogate(c)
              ? i + 1 == value.length() || !Character.isLowSurrogate(value.charAt(i + 1))
              : Character.isLowSurrogate(c) && (i == 0 || !Character.isHighSurrogate(value.charAt(i - 1)));
      if (c == '"' || c == '\\') {
        text.append('\\').append(c);
      } else if (c < ' ' || lone) {
        text.append(String.format("\\u%04x", (int) c));
      } else {
        text.append(c);
      }
    }
    text.append('"');
  }

  // ---- from payloads

  @Override
  public Object decode(Payload payload, Type type) {
    if (type == Payload.class) {
      return payload;
    }
    if (type == Void.class || type == void.class) {
      return null;
    }
    if (type instanceof Class<?> raw && Message.class.isAssignableFrom(raw)) {
      return message(payload, raw);
    }
    if (payload.hasData()) {
      if (type == byte[].class) {
        return payload.getData().toByteArray();
      }
      if (type == ByteString.class) {
        return payload.getData();
      }
      throw new ConversionException("bytes of encoding " + payload.getEncoding() + " do not fit " + type.getTypeName());
    }
    return fit(Json.parse(payload.hasJson() ? payload.getJson() : "null"), type, Map.of());
  }

  private static Object message(Payload payload, Class<?> type) {
    Message none = defaultOf(type);
    String name = none.getDescriptorForType().getFullName();
    if (!payload.hasData() || !payload.getEncoding().equals(PROTOBUF)) {
      String is = payload.hasData() ? "bytes of encoding " + payload.getEncoding() : "JSON";
      throw new ConversionException(is + " do not fit the message " + name);
    }
    String told = payload.getMetadataOrDefault(MESSAGE_TYPE, name);
    if (!told.equals(name)) {
      throw new ConversionException("a message " + told + " is no " + name);
    }
    try {
      return none.getParserForType().parseFrom(payload.getData());
    } catch (InvalidProtocolBufferException e) {
      throw new ConversionException("the bytes are no " + name + ": " + e.getMessage(), e);
    }
  }

  static Message defaultOf(Class<?> type) {
    try {
      return (Message) type.getMethod("getDefaultInstance").invoke(null);
    } catch (ReflectiveOperationException e) {
      throw new ConversionException(type.getName() + " is no generated message", e);
    }
  }

  /** A value as it was parsed, as a value of a type. Variables are those of the record that is being made. */
  Object fit(Object value, Type type, Map<TypeVariable<?>, Type> variables) {
    if (type instanceof TypeVariable<?> variable) {
      return fit(value, variables.getOrDefault(variable, Object.class), Map.of());
    }
    if (type instanceof WildcardType wildcard) {
      return fit(value, wildcard.getUpperBounds()[0], variables);
    }
    if (type instanceof GenericArrayType array) {
      return array(value, array.getGenericComponentType(), variables);
    }
    Type[] arguments = {};
    Class<?> raw;
    if (type instanceof ParameterizedType parameterized) {
      arguments = parameterized.getActualTypeArguments();
      raw = (Class<?>) parameterized.getRawType();
    } else {
      raw = (Class<?>) type;
    }
    if (raw == Object.class) {
      return value;
    }
    if (raw == Optional.class) {
      return value == null ? Optional.empty() : Optional.of(fit(value, argument(arguments, 0), variables));
    }
    if (raw == Void.class) {
      return null;
    }
    if (value == null) {
      throw misfit(value, type);
    }
    if (raw.isRecord()) {
      Map<TypeVariable<?>, Type> own = new HashMap<>();
      for (int i = 0; i < arguments.length; i++) {
        own.put(raw.getTypeParameters()[i], resolve(arguments[i], variables));
      }
      return record(mapOf(value, type), raw, own, this);
    }
    if (raw == Map.class || raw == LinkedHashMap.class) {
      Map<Object, Object> map = new LinkedHashMap<>();
      for (Map.Entry<String, Object> entry : mapOf(value, type).entrySet()) {
        Object key = fit(entry.getKey(), arguments.length > 0 ? arguments[0] : String.class, variables);
        map.put(key, entry.getValue() == null ? null : fit(entry.getValue(), argument(arguments, 1), variables));
      }
      return map;
    }
    if (raw == List.class || raw == Collection.class || raw == Iterable.class || raw == ArrayList.class) {
      return items(value, argument(arguments, 0), variables);
    }
    if (raw == Set.class) {
      return new LinkedHashSet<>(items(value, argument(arguments, 0), variables));
    }
    if (raw.isArray() && raw != byte[].class) {
      return array(value, raw.getComponentType(), variables);
    }
    return scalar(value, raw);
  }

  private static Type argument(Type[] arguments, int index) {
    return index < arguments.length ? arguments[index] : Object.class;
  }

  private static Type resolve(Type type, Map<TypeVariable<?>, Type> variables) {
    return type instanceof TypeVariable<?> variable ? variables.getOrDefault(variable, Object.class) : type;
  }

  private static ConversionException misfit(Object value, Type type) {
    String is =
        value == null ? "null"
            : value instanceof String ? "a string"
            : value instanceof Number ? "the number " + value
            : value instanceof Boolean ? "a boolean"
            : value instanceof Map ? "an object" : "a list";
    return new ConversionException(is + " does not fit " + type.getTypeName());
  }

  @SuppressWarnings("unchecked") // parsed objects have strings as keys
  private static Map<String, Object> mapOf(Object value, Type type) {
    if (value instanceof Map) {
      return (Map<String, Object>) value;
    }
    throw misfit(value, type);
  }

  private List<Object> items(Object value, Type item, Map<TypeVariable<?>, Type> variables) {
    if (!(value instanceof List<?> list)) {
      throw misfit(value, List.class);
    }
    List<Object> items = new ArrayList<>();
    for (Object element : list) {
      items.add(element == null && item == Object.class ? null : fit(element, item, variables));
    }
    return items;
  }

  private Object array(Object value, Type item, Map<TypeVariable<?>, Type> variables) {
    List<Object> items = items(value, item, variables);
    Class<?> raw = item instanceof ParameterizedType parameterized ? (Class<?>) parameterized.getRawType() : (Class<?>) item;
    Object array = Array.newInstance(raw, items.size());
    for (int i = 0; i < items.size(); i++) {
      Array.set(array, i, items.get(i));
    }
    return array;
  }

  /** Gives a record its components; each problem is told by the component's name. */
  Object record(Map<String, Object> fields, Class<?> type, Map<TypeVariable<?>, Type> variables, PayloadCodec codec) {
    RecordComponent[] components = type.getRecordComponents();
    Object[] values = new Object[components.length];
    for (int i = 0; i < components.length; i++) {
      String name = nameOf(components[i]);
      try {
        if (!fields.containsKey(name) && components[i].getType() != Optional.class) {
          throw new ConversionException("it is missing");
        }
        Object given = fields.get(name);
        values[i] =
            given instanceof Payload payload
                ? decodeComponent(payload, components[i].getGenericType(), codec)
                : fit(given, components[i].getGenericType(), variables);
      } catch (ConversionException e) {
        throw new ConversionException(name + ": " + e.getMessage(), e);
      }
    }
    return construct(type, components, values);
  }

  private static Object decodeComponent(Payload payload, Type type, PayloadCodec codec) {
    if (type instanceof ParameterizedType parameterized && parameterized.getRawType() == Optional.class) {
      boolean isNull = !payload.hasData() && (!payload.hasJson() || payload.getJson().equals("null"));
      return isNull ? Optional.empty() : Optional.of(codec.decode(payload, parameterized.getActualTypeArguments()[0]));
    }
    return codec.decode(payload, type);
  }

  private static Object construct(Class<?> type, RecordComponent[] components, Object[] values) {
    Class<?>[] types = new Class<?>[components.length];
    for (int i = 0; i < types.length; i++) {
      types[i] = components[i].getType();
    }
    try {
      var constructor = type.getDeclaredConstructor(types);
      constructor.setAccessible(true);
      return constructor.newInstance(values);
    } catch (InvocationTargetException e) {
      throw new ConversionException(type.getSimpleName() + " refuses it: " + e.getCause().getMessage(), e.getCause());
    } catch (ReflectiveOperationException | RuntimeException e) {
      throw new ConversionException(type.getName() + " can't be made", e);
    }
  }

  private static Object scalar(Object value, Class<?> type) {
    try {
      if (value instanceof String text) {
        return fromText(text, type);
      }
      if (value instanceof Boolean && (type == boolean.class || type == Boolean.class)) {
        return value;
      }
      if (value instanceof Number number) {
        return fromNumber(number, type);
      }
    } catch (ArithmeticException | IllegalArgumentException | DateTimeException e) {
      throw new ConversionException(misfit(value, type).getMessage() + ": " + e.getMessage(), e);
    }
    throw misfit(value, type);
  }

  @SuppressWarnings({"unchecked", "rawtypes"}) // an enum class is one of its own type
  private static Object fromText(String text, Class<?> type) {
    if (type == String.class || type == CharSequence.class) {
      return text;
    } else if (type.isEnum()) {
      return Enum.valueOf((Class) type, text);
    } else if (type == UUID.class) {
      return UUID.fromString(text);
    } else if (type == Instant.class) {
      return Instant.parse(text);
    } else if (type == LocalDate.class) {
      return LocalDate.parse(text);
    } else if (type == Duration.class) {
      return Duration.parse(text);
    } else if (type == byte[].class) {
      return Base64.getDecoder().decode(text);
    } else if ((type == char.class || type == Character.class) && text.length() == 1) {
      return text.charAt(0);
    }
    throw misfit(text, type);
  }

  private static Object fromNumber(Number number, Class<?> type) {
    BigDecimal exact = number instanceof BigDecimal decimal ? decimal : new BigDecimal(number.toString());
    if (type == BigDecimal.class) {
      return exact;
    } else if (type == Number.class) {
      return number;
    } else if (type == double.class || type == Double.class) {
      return finite(exact.doubleValue());
    } else if (type == float.class || type == Float.class) {
      return (float) finite(exact.floatValue());
    } else if (exact.precision() - exact.scale() > 10_000) {
      throw new ArithmeticException("too large"); // to write it out could take all memory
    } else if (type == long.class || type == Long.class) {
      return exact.longValueExact();
    } else if (type == int.class || type == Integer.class) {
      return exact.intValueExact();
    } else if (type == short.class || type == Short.class) {
      return exact.shortValueExact();
    } else if (type == byte.class || type == Byte.class) {
      return exact.byteValueExact();
    } else if (type == BigInteger.class) {
      return exact.toBigIntegerExact();
    }
    throw misfit(number, type);
  }

  private static double finite(double value) {
    if (Double.isInfinite(value)) {
      throw new ArithmeticException("too large");
    }
    return value;
  }
}
