package dev.sagaline;

import java.security.SecureRandom;
import java.util.UUID;

/** Makes ids. */
final class Ids {
  private static final SecureRandom RANDOM = new SecureRandom();

  private Ids() {}

  /** A UUID of version 7: its first half is the time, so that ids sort by it. */
  static String newId() {
    long most = (System.currentTimeMillis() << 16) | 0x7000L | RANDOM.nextInt(0x1000);
    long least = (RANDOM.nextLong() & 0x3FFFFFFFFFFFFFFFL) | 0x8000000000000000L;
    return new UUID(most, least).toString();
  }
}
