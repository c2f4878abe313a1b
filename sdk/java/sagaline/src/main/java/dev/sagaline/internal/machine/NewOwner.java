package dev.sagaline.internal.machine;

/** Whose something is from here on, and under which epoch. */
record NewOwner(String sec, long epoch) {
  /** Says whose an attempt is that was a SEC's until now; null: still that one's. */
  interface Finder {
    NewOwner of(Ref ref, String present);
  }
}
