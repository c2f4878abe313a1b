package dev.sagaline;

import java.lang.reflect.Type;

/**
 * A graph that sagas can be created of: P are their parameters, R is their result.
 *
 * <pre>{@code
 * var g = Graph.builder("trip", Trip.class);
 * var paid = g.add("pay", charge, Inputs.of(Charge::new, g.params().at(Trip::card), Ref.of(500)));
 * var room = g.add("hotel", book, Inputs.of(Booking::new, g.params().at(Trip::city)), With.after(paid));
 * Graph<Trip, Room> trip = g.build(room);
 * }</pre>
 */
public final class Graph<P, R> {
  private final dev.sagaline.v1.Graph message;
  private final Type result;

  Graph(dev.sagaline.v1.Graph message, Type result) {
    this.message = message;
    this.result = result;
  }

  /** Begins a graph whose sagas take parameters of this type. */
  public static <P> GraphBuilder<P> builder(String name, Class<P> params) {
    return new GraphBuilder<>(name, params);
  }

  /** Begins a graph whose sagas take parameters of a type that class literals can't say. */
  public static <P> GraphBuilder<P> builder(String name, TypeRef<P> params) {
    return new GraphBuilder<>(name, params.type());
  }

  /** Begins a graph whose sagas take no parameters. */
  public static GraphBuilder<Void> builder(String name) {
    return new GraphBuilder<>(name, Void.class);
  }

  /** The graph as it is sent. */
  public dev.sagaline.v1.Graph message() {
    return message;
  }

  Type resultType() {
    return result;
  }

  @Override
  public String toString() {
    return "graph " + message.getName();
  }
}
