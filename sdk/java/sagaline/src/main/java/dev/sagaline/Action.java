package dev.sagaline;

import com.google.protobuf.Message;
import dev.sagaline.internal.machine.Ref;
import dev.sagaline.v1.ActionOutcome;
import dev.sagaline.v1.ActionSpec;
import dev.sagaline.v1.BarrierKind;
import dev.sagaline.v1.Invocation;
import dev.sagaline.v1.InvocationKind;
import dev.sagaline.v1.Payload;
import dev.sagaline.v1.TypeSpec;
import dev.sagaline.v1.UndoContext;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * An action with its undo action, if it has one: what a worker serves, and what graphs are built of. It is immutable; its
 * methods give copies.
 *
 * <p>Where I is a record, its components are the action's inputs by name ({@link Name}); a Map has all of them, Void none; any
 * other type is one input, whatever its name. O is the output.
 */
public final class Action<I, O> {
  /** Runs an action. */
  @FunctionalInterface
  public interface Body<I, O> {
    O run(ActionContext context, I input) throws Exception;
  }

  /** Runs an undo action: when it returns, the node is undone, whatever of the action happened. */
  @FunctionalInterface
  public interface UndoBody<I, O> {
    void run(ActionContext context, Undo<I, O> undo) throws Exception;
  }

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,128}");

  private final String name;
  private final String version;
  private final Type input;
  private final Type output;
  private final Body<I, O> body;
  private final UndoBody<I, O> undo;
  private final String pool;
  private final int maxInFlight;
  private final BarrierKind barrier;

  private Action(
      String name, String version, Type input, Type output, Body<I, O> body, UndoBody<I, O> undo, String pool,
      int maxInFlight, BarrierKind barrier) {
    if (!NAME.matcher(name).matches()) {
      throw new DefinitionException(name + " can't be the name of an action: 1 to 128 of A-Z a-z 0-9 . _ -");
    }
    this.name = name;
    this.version = version;
    this.input = input;
    this.output = output;
    this.body = body;
    this.undo = undo;
    this.pool = pool;
    this.maxInFlight = maxInFlight;
    this.barrier = barrier;
  }

  /** An action of version "1". */
  public static <I, O> Action<I, O> of(String name, Class<I> input, Class<O> output, Body<I, O> body) {
    return make(name, input, output, body);
  }

  /** As {@link #of(String, Class, Class, Body)}, for types that class literals can't say. */
  public static <I, O> Action<I, O> of(String name, TypeRef<I> input, TypeRef<O> output, Body<I, O> body) {
    return make(name, input.type(), output.type(), body);
  }

  /** As {@link #of(String, Class, Class, Body)}, for an output that a class literal can't say. */
  public static <I, O> Action<I, O> of(String name, Class<I> input, TypeRef<O> output, Body<I, O> body) {
    return make(name, input, output.type(), body);
  }

  /** Names an action that is served elsewhere, perhaps in another language, so that graphs can be built of it. */
  public static <I, O> Action<I, O> declare(String name, Class<I> input, Class<O> output) {
    return make(name, input, output, null);
  }

  /** As {@link #declare(String, Class, Class)}, for an output that a class literal can't say. */
  public static <I, O> Action<I, O> declare(String name, Class<I> input, TypeRef<O> output) {
    return make(name, input, output.type(), null);
  }

  private static <I, O> Action<I, O> make(String name, Type input, Type output, Body<I, O> body) {
    return new Action<>(name, "1", input, output, body, null, "", 0, BarrierKind.BARRIER_KIND_UNSPECIFIED);
  }

  /** A copy with an undo action. */
  public Action<I, O> undo(UndoBody<I, O> undo) {
    return new Action<>(name, version, input, output, body, undo, pool, maxInFlight, barrier);
  }

  /** A copy of another version. */
  public Action<I, O> version(String version) {
    return new Action<>(name, version, input, output, body, undo, pool, maxInFlight, barrier);
  }

  /** A copy that uses a slot pool of its worker. */
  public Action<I, O> pool(String pool) {
    return new Action<>(name, version, input, output, body, undo, pool, maxInFlight, barrier);
  }

  /** A copy of which each worker runs so many at once at most. */
  public Action<I, O> maxInFlight(int most) {
    return new Action<>(name, version, input, output, body, undo, pool, most, barrier);
  }

  /** A copy that is told of as protected by a barrier that also keeps tombstones. */
  public Action<I, O> barrier() {
    return new Action<>(name, version, input, output, body, undo, pool, maxInFlight, BarrierKind.BARRIER_KIND_TOMBSTONE);
  }

  public String name() {
    return name;
  }

  public String version() {
    return version;
  }

  Type inputType() {
    return input;
  }

  Type outputType() {
    return output;
  }

  String pool() {
    return pool;
  }

  boolean isServed() {
    return body != null;
  }

  boolean hasUndo() {
    return undo != null;
  }

  ActionSpec spec() {
    var spec =
        ActionSpec.newBuilder()
            .setAction(name)
            .addVersions(version)
            .addKinds(InvocationKind.INVOCATION_KIND_ACTION)
            .setSlotPool(pool)
            .setMaxInFlight(maxInFlight)
            .setBarrier(barrier);
    if (undo != null) {
      spec.addKinds(InvocationKind.INVOCATION_KIND_UNDO);
    }
    if (input instanceof Class<?> raw && raw.isRecord()) {
      for (RecordComponent component : raw.getRecordComponents()) {
        typeSpec(component.getType()).ifPresent(type -> spec.putInputTypes(JsonCodec.nameOf(component), type));
      }
    }
    typeSpec(output).ifPresent(spec::setOutputType);
    return spec.build();
  }

  /** Declares what has a name that all languages share: protobuf messages. */
  private static Optional<TypeSpec> typeSpec(Type type) {
    if (!(type instanceof Class<?> raw) || raw == Payload.class || !Message.class.isAssignableFrom(raw)) {
      return Optional.empty();
    }
    String message = JsonCodec.defaultOf(raw).getDescriptorForType().getFullName();
    return Optional.of(TypeSpec.newBuilder().setMessageName(message).build());
  }

  // ---- running

  /** Not user code but the SDK found that a value does not fit. */
  static final class Misfit extends Exception {
    private static final long serialVersionUID = 1;

    final boolean ofInput;

    Misfit(boolean ofInput, ConversionException cause) {
      super(cause.getMessage(), cause);
      this.ofInput = ofInput;
    }
  }

  Payload run(ActionContext context, Invocation invocation, PayloadCodec codec) throws Exception {
    I in = decodeInput(invocation, codec);
    if (invocation.getRef().getKindValue() == Ref.UNDO) {
      undo.run(context, undoOf(invocation.getUndo(), in, codec));
      return Payload.newBuilder().setJson("null").build();
    }
    O out = body.run(context, in);
    try {
      return codec.encode(out);
    } catch (ConversionException e) {
      throw new Misfit(false, e);
    }
  }

  private Undo<I, O> undoOf(UndoContext told, I in, PayloadCodec codec) throws Misfit {
    boolean known = told.getActionOutcome() == ActionOutcome.ACTION_OUTCOME_SUCCEEDED;
    O out = null;
    if (known) {
      try {
        out = cast(codec.decode(told.getActionOutput(), output));
      } catch (ConversionException e) {
        throw new Misfit(true, new ConversionException("the output of the action: " + e.getMessage(), e));
      }
    }
    Optional<FailureInfo> failure =
        told.hasSagaFailure() ? Optional.of(FailureInfo.of(told.getSagaFailure())) : Optional.empty();
    return new Undo<>(in, out, known, told.getActionIdempotencyKey(), failure);
  }

  private I decodeInput(Invocation invocation, PayloadCodec codec) throws Misfit {
    Map<String, Payload> inputs = invocation.getInputsMap();
    try {
      if (input == Void.class) {
        return null;
      }
      Class<?> raw = input instanceof Class<?> type ? type : null;
      if (raw != null && raw.isRecord()) {
        return cast(decodeRecord(inputs, raw, codec));
      }
      if (raw == Map.class) {
        Map<String, Object> all = new LinkedHashMap<>();
        for (Map.Entry<String, Payload> entry : inputs.entrySet()) {
          all.put(entry.getKey(), codec.decode(entry.getValue(), Object.class));
        }
        return cast(all);
      }
      if (inputs.size() != 1) {
        throw new ConversionException("one input is taken, and " + inputs.size() + " were given");
      }
      return cast(codec.decode(inputs.values().iterator().next(), input));
    } catch (ConversionException e) {
      throw new Misfit(true, e);
    }
  }

  private static Object decodeRecord(Map<String, Payload> inputs, Class<?> type, PayloadCodec codec) {
    boolean takesItem = false;
    for (RecordComponent component : type.getRecordComponents()) {
      takesItem |= JsonCodec.nameOf(component).equals(Inputs.ITEM);
    }
    if (inputs.size() == 1 && inputs.containsKey(Inputs.ITEM) && !takesItem) {
      return codec.decode(inputs.get(Inputs.ITEM), type); // an element of a map node, whose fields are the inputs
    }
    return JsonCodec.DEFAULT.record(new LinkedHashMap<>(inputs), type, Map.of(), codec);
  }

  @SuppressWarnings("unchecked") // the codec was asked for this type
  static <T> T cast(Object value) {
    return (T) value;
  }

  @Override
  public String toString() {
    return "action " + name + " version " + version;
  }
}
