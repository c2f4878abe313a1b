package dev.sagaline.barrier;

/** A database that a barrier works in. */
public enum Dialect {
  SQLITE,
  POSTGRESQL
}
