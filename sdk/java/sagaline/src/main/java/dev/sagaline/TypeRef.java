package dev.sagaline;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;

/** A type that a class literal can't say: {@code new TypeRef<List<Order>>() {}}. */
public abstract class TypeRef<T> {
  private final Type type;

  protected TypeRef() {
    if (!(getClass().getGenericSuperclass() instanceof ParameterizedType itself)) {
      throw new DefinitionException("say which type: new TypeRef<List<String>>() {}");
    }
    this.type = itself.getActualTypeArguments()[0];
  }

  public final Type type() {
    return type;
  }
}
