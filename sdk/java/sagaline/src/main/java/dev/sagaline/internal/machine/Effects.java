package dev.sagaline.internal.machine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.slf4j.event.Level;

/** Collects what one event asks for, in order. */
final class Effects {
  private List<Effect> list = new ArrayList<>();

  void add(Effect effect) {
    list.add(effect);
  }

  void note(Level level, String text, Object... facts) {
    add(new Effect.Note(level, text, Arrays.asList(facts)));
  }

  boolean isEmpty() {
    return list.isEmpty();
  }

  List<Effect> take() {
    List<Effect> taken = list;
    list = new ArrayList<>();
    return taken;
  }
}
