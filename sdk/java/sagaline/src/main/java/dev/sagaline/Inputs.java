package dev.sagaline;

import dev.sagaline.v1.InputSource;
import java.io.Serializable;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Where the inputs of an action come from: one value for each component of its input record, in their order. The record's
 * constructor says which record it is, and what fits: {@code Inputs.of(Charge::new, order.at(Order::card), Ref.of(500))}.
 */
public final class Inputs<I> {
  /** The constructor of a record of 1 component. */
  @FunctionalInterface
  public interface Of1<A, I> extends Serializable {
    I make(A a);
  }

  /** The constructor of a record of 2 components. */
  @FunctionalInterface
  public interface Of2<A, B, I> extends Serializable {
    I make(A a, B b);
  }

  /** The constructor of a record of 3 components. */
  @FunctionalInterface
  public interface Of3<A, B, C, I> extends Serializable {
    I make(A a, B b, C c);
  }

  /** The constructor of a record of 4 components. */
  @FunctionalInterface
  public interface Of4<A, B, C, D, I> extends Serializable {
    I make(A a, B b, C c, D d);
  }

  /** The constructor of a record of 5 components. */
  @FunctionalInterface
  public interface Of5<A, B, C, D, E, I> extends Serializable {
    I make(A a, B b, C c, D d, E e);
  }

  /** The constructor of a record of 6 components. */
  @FunctionalInterface
  public interface Of6<A, B, C, D, E, F, I> extends Serializable {
    I make(A a, B b, C c, D d, E e, F f);
  }

  /** The constructor of a record of 7 components. */
  @FunctionalInterface
  public interface Of7<A, B, C, D, E, F, G, I> extends Serializable {
    I make(A a, B b, C c, D d, E e, F f, G g);
  }

  /** The constructor of a record of 8 components. */
  @FunctionalInterface
  public interface Of8<A, B, C, D, E, F, G, H, I> extends Serializable {
    I make(A a, B b, C c, D d, E e, F f, G g, H h);
  }

  /** An input, where it comes from as it was given, and as it is sent: null where it isn't. */
  record Input(String name, Ref<?> from, InputSource source) {
    static Input of(String name, Ref<?> from) {
      boolean hasSource = from.source != Ref.Source.NOWHERE && from.source != Ref.Source.PLACE;
      return new Input(name, from, hasSource ? from.message() : null);
    }
  }

  /** What the only input of an action that takes one value is called in graphs of this SDK. */
  private static final String SOLE = "input";

  /** What the element of a map node is called where nothing else is said. */
  static final String ITEM = "item";

  final List<Input> all;

  private Inputs(List<Input> all) {
    this.all = all;
  }

  public static <A, I> Inputs<I> of(Of1<A, I> make, Ref<? extends A> a) {
    return named(make, a);
  }

  public static <A, B, I> Inputs<I> of(Of2<A, B, I> make, Ref<? extends A> a, Ref<? extends B> b) {
    return named(make, a, b);
  }

  public static <A, B, C, I> Inputs<I> of(Of3<A, B, C, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c) {
    return named(make, a, b, c);
  }

  public static <A, B, C, D, I> Inputs<I> of(
      Of4<A, B, C, D, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c, Ref<? extends D> d) {
    return named(make, a, b, c, d);
  }

  public static <A, B, C, D, E, I> Inputs<I> of(
      Of5<A, B, C, D, E, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c,
      Ref<? extends D> d, Ref<? extends E> e) {
    return named(make, a, b, c, d, e);
  }

  public static <A, B, C, D, E, F, I> Inputs<I> of(
      Of6<A, B, C, D, E, F, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c,
      Ref<? extends D> d, Ref<? extends E> e, Ref<? extends F> f) {
    return named(make, a, b, c, d, e, f);
  }

  public static <A, B, C, D, E, F, G, I> Inputs<I> of(
      Of7<A, B, C, D, E, F, G, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c, Ref<? extends D> d,
      Ref<? extends E> e, Ref<? extends F> f, Ref<? extends G> g) {
    return named(make, a, b, c, d, e, f, g);
  }

  public static <A, B, C, D, E, F, G, H, I> Inputs<I> of(
      Of8<A, B, C, D, E, F, G, H, I> make, Ref<? extends A> a, Ref<? extends B> b, Ref<? extends C> c, Ref<? extends D> d,
      Ref<? extends E> e, Ref<? extends F> f, Ref<? extends G> g, Ref<? extends H> h) {
    return named(make, a, b, c, d, e, f, g, h);
  }

  /** For an action that takes a Map: its inputs by name. */
  @SuppressWarnings("rawtypes") // Action.of takes the class literal, which has no type arguments
  public static Inputs<Map> byName(Map<String, Ref<?>> inputs) {
    List<Input> all = new ArrayList<>();
    inputs.forEach((name, from) -> all.add(Input.of(name, from)));
    return new Inputs<>(all);
  }

  private static <I> Inputs<I> named(Serializable make, Ref<?>... from) {
    RecordComponent[] components = References.constructed(make).getRecordComponents();
    List<Input> inputs = new ArrayList<>();
    for (int i = 0; i < from.length; i++) {
      inputs.add(Input.of(JsonCodec.nameOf(components[i]), from[i]));
    }
    return new Inputs<>(inputs);
  }

  /** All of a value: where the action takes a record, each input is the component of the same name. */
  static <I> Inputs<I> whole(Action<I, ?> action, Ref<? extends I> from) {
    if (action.inputType() == Map.class) {
      throw new DefinitionException(action + " takes a Map: give its inputs with Inputs.byName");
    }
    if (from.isEach || !(action.inputType() instanceof Class<?> type && type.isRecord())) {
      return new Inputs<>(List.of(Input.of(from.isEach ? ITEM : SOLE, from)));
    }
    List<Input> inputs = new ArrayList<>();
    for (RecordComponent component : type.getRecordComponents()) {
      inputs.add(new Input(JsonCodec.nameOf(component), from, from.sourceOf(component)));
    }
    return new Inputs<>(inputs);
  }
}
