package dev.sagaline;

import dev.sagaline.v1.InputSource;
import dev.sagaline.v1.ParamsSource;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A value that a saga will have: a node's output, the parameters, something inside either, or a value fixed in the graph. Its
 * type is checked where it is used, so that a graph whose data does not fit does not compile.
 */
public final class Ref<T> {
  /** Where the value comes from. */
  enum Source {
    NODE,
    PARAMS,
    LITERAL,
    /** The place of a map node's element in its list. */
    PLACE,
    /** An input that is left out. */
    NOWHERE
  }

  private static final int PATH_MAX = 16;

  final GraphBuilder<?> owner;
  final Source source;
  final String node;
  final Object literal;
  final List<String> path;
  final Type type;
  /** It stands for each element of the list. */
  final boolean isEach;

  private Ref(
      GraphBuilder<?> owner, Source source, String node, Object literal, List<String> path, Type type, boolean isEach) {
    this.owner = owner;
    this.source = source;
    this.node = node;
    this.literal = literal;
    this.path = path;
    this.type = type;
    this.isEach = isEach;
  }

  static <T> Ref<T> node(GraphBuilder<?> owner, String name, Type type) {
    return new Ref<>(owner, Source.NODE, name, null, List.of(), type, false);
  }

  static <T> Ref<T> params(GraphBuilder<?> owner, Type type) {
    return new Ref<>(owner, Source.PARAMS, "", null, List.of(), type, false);
  }

  /** A value that is fixed in the graph. */
  public static <T> Ref<T> of(T value) {
    return new Ref<>(null, Source.LITERAL, "", value, List.of(), value == null ? Void.class : value.getClass(), false);
  }

  /** For an input that may be missing: it is left out. */
  public static <T> Ref<Optional<T>> none() {
    return new Ref<>(null, Source.NOWHERE, "", null, List.of(), Optional.class, false);
  }

  /** For an input that may be missing: it is given. */
  public Ref<Optional<T>> optional() {
    return new Ref<>(owner, source, node, literal, path, type, isEach);
  }

  /** A field of a record: {@code order.at(Order::customer)}. It takes method references to a record's components only. */
  public <F> Ref<F> at(Field<? super T, F> field) {
    RecordComponent component = References.component(field);
    return inside(JsonCodec.nameOf(component), component.getGenericType());
  }

  /** An element of a list, the first being 0. */
  public static <E> Ref<E> item(Ref<? extends List<? extends E>> list, int index) {
    if (index < 0) {
      throw new DefinitionException("element " + index + " of a list: the first is 0");
    }
    return list.inside(Integer.toString(index), list.argument(0));
  }

  /** A value of a map. */
  public static <E> Ref<E> entry(Ref<? extends Map<String, ? extends E>> map, String key) {
    return map.inside(key, map.argument(1));
  }

  /** Each element of a list: the input of a map node's action in which they differ, or the parameters of its graph. */
  public static <E> Ref<E> each(Ref<? extends List<? extends E>> list) {
    return new Ref<>(list.owner, list.source, list.node, list.literal, list.path, list.argument(0), true);
  }

  /** The place of a map node's element in its list, from 0, as an input of its action. */
  public static Ref<Integer> place() {
    return new Ref<>(null, Source.PLACE, "", null, List.of(), Integer.class, false);
  }

  private <F> Ref<F> inside(String key, Type type) {
    if (isEach || source == Source.NOWHERE || source == Source.PLACE) {
      throw new DefinitionException("nothing can be selected in " + this + ": give it whole");
    }
    if (source == Source.LITERAL) {
      throw new DefinitionException("nothing can be selected in a value that is fixed in the graph: give the part itself");
    }
    if (path.size() == PATH_MAX) {
      throw new DefinitionException("a path has at most " + PATH_MAX + " elements");
    }
    List<String> longer = new ArrayList<>(path);
    longer.add(key);
    return new Ref<>(owner, source, node, null, List.copyOf(longer), type, false);
  }

  /** A type argument of this value's type, as far as it is known. */
  private Type argument(int index) {
    return type instanceof ParameterizedType generic && index < generic.getActualTypeArguments().length
        ? generic.getActualTypeArguments()[index]
        : Object.class;
  }

  /** A field of the record that this value is. */
  InputSource sourceOf(RecordComponent component) {
    if (source == Source.LITERAL) {
      return Ref.of(References.value(component, literal)).message();
    }
    return inside(JsonCodec.nameOf(component), component.getGenericType()).message();
  }

  InputSource message() {
    InputSource.Builder message = InputSource.newBuilder().addAllPath(path);
    switch (source) {
      case NODE -> message.setNode(node);
      case PARAMS -> message.setParams(ParamsSource.getDefaultInstance());
      default -> message.setLiteral(JsonCodec.DEFAULT.encode(literal));
    }
    return message.build();
  }

  /** Whether it can stand where a node is meant, as before another. */
  boolean isWholeOutput() {
    return source == Source.NODE && path.isEmpty() && !isEach;
  }

  @Override
  public String toString() {
    String from =
        switch (source) {
          case NODE -> "the output of node " + node;
          case PARAMS -> "the parameters";
          case LITERAL -> "a fixed value";
          case PLACE -> "the place of an element";
          case NOWHERE -> "no value";
        };
    String where = path.isEmpty() ? from : from + " at " + String.join(".", path);
    return isEach ? "each element of " + where : where;
  }
}
