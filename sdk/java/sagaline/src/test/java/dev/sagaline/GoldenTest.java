package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.sagaline.v1.ActionNode;
import dev.sagaline.v1.Node;
import dev.sagaline.v1.Sec;
import dev.sagaline.v1.TypeSpec;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** tests/golden has the graph that the builders of all SDKs make alike. */
class GoldenTest {
  record Host(String name, int cores) {}

  record Order(String rack, List<String> images, Host spare, List<Host> hosts) {}

  record Pick(String rack, int count) {}

  record Check(String host) {}

  record Boot(String host, boolean healthy) {}

  record Flash(Host host, String image) {}

  record Enlist(Sec sec) {}

  record Cut(String rack) {}

  record Announce(String host, List<Optional<String>> booted) {}

  private static final Action<Pick, List<Host>> PICK =
      Action.declare("hosts.pick", Pick.class, new TypeRef<List<Host>>() {}).version("2");
  private static final Action<Check, Boolean> CHECK = Action.declare("hosts.check", Check.class, Boolean.class);
  private static final Action<Boot, String> BOOT = Action.declare("hosts.boot", Boot.class, String.class);
  private static final Action<Flash, String> FLASH = Action.declare("hosts.flash", Flash.class, String.class);
  private static final Action<Enlist, Sec> ENLIST = Action.declare("secs.enlist", Enlist.class, Sec.class);
  private static final Action<Cut, Void> CUT = Action.declare("rack.cut", Cut.class, Void.class);
  private static final Action<Announce, String> ANNOUNCE = Action.declare("rack.announce", Announce.class, String.class);

  private static Graph<Host, String> server() {
    var g = Graph.builder("server", Host.class);
    var name = g.params().at(Host::name);
    var healthy = g.add("check", CHECK, Inputs.of(Check::new, name), With.irreversible());
    var booted =
        g.add(
            "boot",
            BOOT,
            Inputs.of(Boot::new, name, healthy),
            With.undoRetry(RetryPolicy.DEFAULT.maxAttempts(7).initialBackoff(Duration.ofMillis(20))),
            With.undoTimeouts(Timeouts.NONE.startToClose(Duration.ofSeconds(9)).heartbeat(Duration.ofSeconds(2))),
            With.unknown(UnknownPolicy.UNDO));
    return g.build(booted);
  }

  private static Graph<Void, Object> idle() {
    var g = Graph.builder("idle");
    g.delay("rest", Duration.ZERO);
    return g.build();
  }

  private static Graph<Order, String> golden() {
    var g = Graph.builder("golden", Order.class);
    var size = g.constant("size", 3);
    var picked =
        g.add(
            "pick",
            PICK,
            Inputs.of(Pick::new, g.params().at(Order::rack), size),
            With.retry(
                RetryPolicy.DEFAULT
                    .maxAttempts(9)
                    .initialBackoff(Duration.ofMillis(250))
                    .maxBackoff(Duration.ofMinutes(2))
                    .multiplier(1.5)
                    .jitter(0)
                    .totalTimeout(Duration.ofHours(1))
                    .nonRetryable("NoSuchRack", "Closed")),
            With.timeouts(
                Timeouts.NONE
                    .scheduleToStart(Duration.ofMinutes(5))
                    .startToClose(Duration.ofSeconds(30))
                    .heartbeat(Duration.ofSeconds(3))),
            With.noUndo(),
            With.unknown(UnknownPolicy.RETRY_THEN_UNDO));
    var approved =
        g.signal("approved", Host.class, With.signal("go"), With.timeout(Duration.ofHours(12)), With.after(picked));
    var word = g.signal("word", String.class);
    var rest = g.delay("rest", Duration.ofMillis(90_005), With.after(approved, word));
    var first = g.subsaga("first", server(), Ref.item(picked, 0), With.after(rest));
    g.subsaga("idle", idle(), With.after(first));
    var fleet =
        g.mapSome(
            "fleet", 2, server(), Ref.each(g.params().at(Order::hosts)), With.maxConcurrency(4), With.canary(1),
            With.after(rest));
    var flashed =
        g.map(
            "flashed",
            FLASH,
            Inputs.of(Flash::new, Ref.each(picked), Ref.item(g.params().at(Order::images), 1)),
            With.maxConcurrency(2),
            With.after(rest, first),
            With.forwardOnly(),
            With.unknown(UnknownPolicy.HOLD));
    var spare = Ref.of(List.of(new Host("spare", 2)));
    g.map("again", FLASH, Inputs.of(Flash::new, Ref.each(spare), Ref.of("v1")), With.canary(1), With.undo());
    var sec = Sec.newBuilder().setSecId("a").setAddress("b:1").build();
    var enlisted = g.add("enlist", ENLIST, Inputs.of(Enlist::new, Ref.of(sec)), With.noUndo());
    var gone =
        g.add("cut", CUT, Inputs.of(Cut::new, approved.at(Host::name)), With.pivot(), With.after(fleet, flashed, enlisted));
    var told =
        g.add(
            "tell", ANNOUNCE, Inputs.of(Announce::new, first, fleet), With.noUndo(), With.retry(RetryPolicy.DEFAULT),
            With.after(gone));
    return g.build(told);
  }

  @Test
  void theGoldenGraph() throws Exception {
    Path file = Path.of("../../../tests/golden/graph.binpb");
    var golden = dev.sagaline.v1.Graph.parseFrom(Files.readAllBytes(file));
    var built = withoutSchemas(golden().message());
    for (int i = 0; i < Math.min(golden.getNodesCount(), built.getNodesCount()); i++) {
      assertEquals(golden.getNodes(i), built.getNodes(i));
    }
    assertEquals(golden, built);
  }

  /** Takes out of a graph what each language says in its own way. */
  private static dev.sagaline.v1.Graph withoutSchemas(dev.sagaline.v1.Graph graph) {
    var clean = graph.toBuilder();
    for (Node.Builder node : clean.getNodesBuilderList()) {
      switch (node.getKindCase()) {
        case ACTION -> strip(node.getActionBuilder());
        case SUBSAGA -> node.getSubsagaBuilder().setGraph(withoutSchemas(node.getSubsaga().getGraph()));
        case MAP -> {
          var map = node.getMapBuilder();
          if (map.hasAction()) {
            strip(map.getActionBuilder());
          } else {
            map.getSubsagaBuilder().setGraph(withoutSchemas(map.getSubsaga().getGraph()));
          }
        }
        default -> {}
      }
    }
    return clean.build();
  }

  private static void strip(ActionNode.Builder action) {
    for (String input : List.copyOf(action.getInputTypesMap().keySet())) {
      if (!isMessage(action.getInputTypesOrThrow(input))) {
        action.removeInputTypes(input);
      }
    }
    if (!isMessage(action.getOutputType())) {
      action.clearOutputType();
    }
  }

  private static boolean isMessage(TypeSpec type) {
    return !type.getMessageName().isEmpty();
  }
}
