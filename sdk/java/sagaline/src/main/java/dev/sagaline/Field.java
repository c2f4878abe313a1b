package dev.sagaline;

import java.io.Serializable;

/** A component of a record, as a method reference: {@code Order::customer}. */
@FunctionalInterface
public interface Field<T, F> extends Serializable {
  F of(T record);
}
