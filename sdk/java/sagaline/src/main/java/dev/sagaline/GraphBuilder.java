package dev.sagaline;

import dev.sagaline.v1.ActionNode;
import dev.sagaline.v1.ConstantNode;
import dev.sagaline.v1.DelayNode;
import dev.sagaline.v1.IrreversiblePolicy;
import dev.sagaline.v1.MapNode;
import dev.sagaline.v1.Node;
import dev.sagaline.v1.SignalNode;
import dev.sagaline.v1.SubsagaNode;
import dev.sagaline.v1.UndoKind;
import dev.sagaline.v1.UndoPolicy;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Builds a graph node by node, of typed {@link Ref}s: what does not fit does not compile, and what types can't see is refused
 * with {@link DefinitionException} where it is written. Begin with {@link Graph#builder}.
 */
public final class GraphBuilder<P> {
  private final dev.sagaline.v1.Graph.Builder graph;
  private final Set<String> names = new HashSet<>();
  private final Ref<P> params;

  GraphBuilder(String name, Type params) {
    Check.graphName(name);
    this.graph = dev.sagaline.v1.Graph.newBuilder().setName(name);
    this.params = Ref.params(this, params);
  }

  /** The parameters of the saga. */
  public Ref<P> params() {
    return params;
  }

  /** A node that runs an action; gives its output. */
  public <I, O> Ref<O> add(String name, Action<I, O> action, Inputs<? extends I> inputs, With.OnAction... with) {
    return actionNode(name, action, inputs, with);
  }

  /** As the other, with all inputs from one value: where the action takes a record, each from the component of its name. */
  public <I, O> Ref<O> add(String name, Action<I, O> action, Ref<? extends I> input, With.OnAction... with) {
    return actionNode(name, action, Inputs.whole(action, input), with);
  }

  /** As the other, for an action without inputs. */
  public <O> Ref<O> add(String name, Action<Void, O> action, With.OnAction... with) {
    return actionNode(name, action, null, with);
  }

  private <I, O> Ref<O> actionNode(String name, Action<I, O> action, Inputs<? extends I> inputs, With.OnAction[] with) {
    ActionNode.Builder node = nodeOf(action);
    for (Inputs.Input input : inputs == null ? List.<Inputs.Input>of() : inputs.all) {
      if (input.from().isEach || input.from().source == Ref.Source.PLACE) {
        throw misfit(name, "takes " + input.from() + ": that is for map nodes");
      }
      give(name, node, input.name(), input);
    }
    Node.Builder kept = Node.newBuilder();
    for (With option : with) {
      apply(name, kept, node, null, option);
    }
    return keep(name, kept.setAction(settle(action, node)), action.outputType());
  }

  /** A node that has its value from the start. */
  public <T> Ref<T> constant(String name, T value) {
    var constant = ConstantNode.newBuilder().setValue(JsonCodec.DEFAULT.encode(value));
    return keep(name, Node.newBuilder().setConstant(constant), value == null ? Void.class : value.getClass());
  }

  /** A graph as a node; gives its result. */
  public <P2, R2> Ref<R2> subsaga(String name, Graph<P2, R2> graph, Ref<? extends P2> params, With.After... after) {
    check(name, params);
    if (params.isEach) {
      throw misfit(name, "takes " + params + ": that is for map nodes");
    }
    return subsagaNode(name, graph, SubsagaNode.newBuilder().setParams(params.message()), after);
  }

  /** As the other, for a graph without parameters. */
  public <R2> Ref<R2> subsaga(String name, Graph<Void, R2> graph, With.After... after) {
    return subsagaNode(name, graph, SubsagaNode.newBuilder(), after);
  }

  private <R2> Ref<R2> subsagaNode(String name, Graph<?, R2> graph, SubsagaNode.Builder subsaga, With.After[] after) {
    Node.Builder node = after(name, after).setSubsaga(subsaga.setGraph(graph.message()));
    return keep(name, node, graph.resultType());
  }

  /**
   * A node that runs an action for each element of a list; gives the list of their outputs. One input is {@link Ref#each}, one
   * may be {@link Ref#place}; the others are the same for all.
   */
  public <I, O> Ref<List<O>> map(String name, Action<I, O> action, Inputs<? extends I> inputs, With.OnActionMap... with) {
    return actionMap(name, 0, action, inputs, with);
  }

  /** As the other, with the element as the whole input, {@link Ref#each}. */
  public <I, O> Ref<List<O>> map(String name, Action<I, O> action, Ref<? extends I> each, With.OnActionMap... with) {
    return actionMap(name, 0, action, Inputs.whole(action, each), with);
  }

  /** A node that runs a graph for each element of a list, {@link Ref#each}, which is its parameters. */
  public <P2, R2> Ref<List<R2>> map(String name, Graph<P2, R2> graph, Ref<? extends P2> each, With.OnGraphMap... with) {
    return graphMap(name, 0, graph, each, with);
  }

  /** As {@link #map(String, Action, Inputs, With.OnActionMap...)}; so many elements may fail, whose outputs are then empty. */
  public <I, O> Ref<List<Optional<O>>> mapSome(
      String name, int maxFailures, Action<I, O> action, Inputs<? extends I> inputs, With.OnActionMap... with) {
    return actionMap(name, failures(maxFailures), action, inputs, with);
  }

  /** As {@link #map(String, Action, Ref, With.OnActionMap...)}; so many elements may fail, whose outputs are then empty. */
  public <I, O> Ref<List<Optional<O>>> mapSome(
      String name, int maxFailures, Action<I, O> action, Ref<? extends I> each, With.OnActionMap... with) {
    return actionMap(name, failures(maxFailures), action, Inputs.whole(action, each), with);
  }

  /** As {@link #map(String, Graph, Ref, With.OnGraphMap...)}; so many elements may fail, whose outputs are then empty. */
  public <P2, R2> Ref<List<Optional<R2>>> mapSome(
      String name, int maxFailures, Graph<P2, R2> graph, Ref<? extends P2> each, With.OnGraphMap... with) {
    return graphMap(name, failures(maxFailures), graph, each, with);
  }

  private static int failures(int most) {
    Check.between("max failures", most, 1, Integer.MAX_VALUE);
    return most;
  }

  private <T> Ref<T> actionMap(
      String name, int maxFailures, Action<?, ?> action, Inputs<?> inputs, With.OnActionMap[] with) {
    ActionNode.Builder each = nodeOf(action);
    MapNode.Builder map = MapNode.newBuilder().setMaxFailures(maxFailures);
    for (Inputs.Input input : inputs.all) {
      if (input.from().source == Ref.Source.PLACE) {
        map.setIndex(input.name());
      } else if (!input.from().isEach) {
        give(name, each, input.name(), input);
      } else if (map.hasItems()) {
        throw misfit(name, "takes each element of two lists: a map node has one");
      } else {
        check(name, input.from());
        map.setItems(input.source()).setItem(input.name().equals(Inputs.ITEM) ? "" : input.name());
      }
    }
    if (!map.hasItems()) {
      throw misfit(name, "is a map node: give one of its inputs as Ref.each(list)");
    }
    Node.Builder node = Node.newBuilder();
    for (With option : with) {
      apply(name, node, each, map, option);
    }
    if (each.getPivot()) {
      throw misfit(name, "is a map node, and the pivot is one node alone");
    }
    return keepList(name, maxFailures, node.setMap(map.setAction(settle(action, each))), action.outputType());
  }

  private <T> Ref<T> graphMap(
      String name, int maxFailures, Graph<?, ?> graph, Ref<?> each, With.OnGraphMap[] with) {
    check(name, each);
    if (!each.isEach) {
      throw misfit(name, "is a map node: give its graph Ref.each(list)");
    }
    var subsaga = SubsagaNode.newBuilder().setGraph(graph.message());
    var map = MapNode.newBuilder().setItems(each.message()).setSubsaga(subsaga).setMaxFailures(maxFailures);
    Node.Builder node = Node.newBuilder();
    for (With option : with) {
      apply(name, node, ActionNode.newBuilder(), map, option);
    }
    return keepList(name, maxFailures, node.setMap(map), graph.resultType());
  }

  /** A durable timer, from when the node is ready. */
  public Ref<Void> delay(String name, Duration time, With.After... after) {
    var delay = DelayNode.newBuilder().setDuration(Check.length("delay", time, 0));
    return keep(name, after(name, after).setDelay(delay), Void.class);
  }

  /** Waits for {@link Client#signal}, and gives its payload. */
  public <T> Ref<T> signal(String name, Class<T> payload, With.OnSignal... with) {
    return signalNode(name, payload, with);
  }

  /** As the other, for a payload of a type that class literals can't say. */
  public <T> Ref<T> signal(String name, TypeRef<T> payload, With.OnSignal... with) {
    return signalNode(name, payload.type(), with);
  }

  private <T> Ref<T> signalNode(String name, Type payload, With.OnSignal[] with) {
    SignalNode.Builder signal = SignalNode.newBuilder();
    Node.Builder node = Node.newBuilder();
    for (With.OnSignal option : with) {
      if (option instanceof With.Waiting waiting) {
        Optional.ofNullable(waiting.signal()).ifPresent(signal::setSignal);
        Optional.ofNullable(waiting.timeout())
            .ifPresent(time -> signal.setTimeout(Check.length("timeout of node " + name, time, 1)));
      } else if (option instanceof With.After after) {
        after(name, node, after);
      }
    }
    return keep(name, node.setSignal(signal), payload);
  }

  /** The graph; the result of its sagas is the output of this node. */
  public <R> Graph<P, R> build(Ref<R> result) {
    check("", result);
    if (!result.isWholeOutput()) {
      throw new DefinitionException("the result of graph " + graph.getName() + " must be a node's whole output");
    }
    return finish(result.node, result.type);
  }

  /** The graph; the result of its sagas is the output of the only node that no other depends on, or null. */
  public Graph<P, Object> build() {
    return finish("", Object.class);
  }

  private <R> Graph<P, R> finish(String result, Type type) {
    if (names.isEmpty()) {
      throw new DefinitionException("graph " + graph.getName() + " has no nodes");
    }
    return new Graph<>(graph.clone().setResult(result).build(), type);
  }

  // ---- inside

  private <T> Ref<T> keep(String name, Node.Builder node, Type output) {
    Check.nodeName("a node", name);
    if (!names.add(name)) {
      throw new DefinitionException("graph " + graph.getName() + " has two nodes " + name);
    }
    graph.addNodes(node.setName(name));
    return Ref.node(this, name, output);
  }

  private static ActionNode.Builder nodeOf(Action<?, ?> action) {
    var spec = action.spec();
    var node =
        ActionNode.newBuilder().setAction(action.name()).setVersion(action.version()).putAllInputTypes(spec.getInputTypesMap());
    if (spec.hasOutputType()) {
      node.setOutputType(spec.getOutputType());
    }
    return node;
  }

  private void give(String name, ActionNode.Builder node, String input, Inputs.Input given) {
    check(name, given.from());
    if (given.source() != null) {
      node.putInputs(input, given.source());
    }
  }

  private void check(String name, Ref<?> given) {
    if (given.owner != null && given.owner != this) {
      throw misfit(name, "is given " + given + " of another graph: pass it as a parameter");
    }
  }

  private DefinitionException misfit(String name, String problem) {
    String what = name.isEmpty() ? "the result" : "node " + name;
    return new DefinitionException("graph " + graph.getName() + ": " + what + " " + problem);
  }

  private Node.Builder after(String name, With.After[] all) {
    Node.Builder node = Node.newBuilder();
    for (With.After after : all) {
      after(name, node, after);
    }
    return node;
  }

  private void after(String name, Node.Builder node, With.After after) {
    for (Ref<?> before : after.nodes()) {
      check(name, before);
      if (before.source != Ref.Source.NODE) {
        throw misfit(name, "can come after nodes alone, not after " + before);
      }
      node.addAfter(before.node);
    }
  }

  /** What an option says, of an action node or of a map node. */
  private void apply(String name, Node.Builder node, ActionNode.Builder action, MapNode.Builder map, With option) {
    UndoPolicy.Builder undo = UndoPolicy.newBuilder();
    if (option instanceof With.After after) {
      after(name, node, after);
    } else if (option instanceof With.Retry retry) {
      action.setRetry(retry.policy().message());
    } else if (option instanceof With.Limits limits) {
      action.setTimeouts(limits.timeouts().message());
    } else if (option instanceof With.Undone undone) {
      undo.setKind(undone.kind());
      if (undone.kind() == UndoKind.UNDO_KIND_NONE) {
        undo.setIrreversible(
            undone.isForwardOnly()
                ? IrreversiblePolicy.IRREVERSIBLE_POLICY_FORWARD_ONLY
                : IrreversiblePolicy.IRREVERSIBLE_POLICY_HOLD);
      }
      action.mergeUndo(undo.build());
    } else if (option instanceof With.UndoRetry retry) {
      action.mergeUndo(undo.setRetry(retry.policy().message()).build());
    } else if (option instanceof With.UndoLimits limits) {
      action.mergeUndo(undo.setTimeouts(limits.timeouts().message()).build());
    } else if (option instanceof With.Unknown unknown) {
      action.setUnknownPolicy(unknown.policy().message);
    } else if (option instanceof With.Pivot) {
      action.setPivot(true);
    } else if (option instanceof With.Bounds bounds) {
      map.mergeFrom(
          MapNode.newBuilder()
              .setMaxConcurrency(bounds.maxConcurrency())
              .setCanary(bounds.canary())
              .build());
    }
  }

  /** An action that is made here without an undo action has nothing to undo, unless something else is said. */
  private static ActionNode.Builder settle(Action<?, ?> action, ActionNode.Builder node) {
    if (node.getUndo().getKind() == UndoKind.UNDO_KIND_UNSPECIFIED && !node.getPivot()) {
      if (action.isServed() && !action.hasUndo()) {
        node.getUndoBuilder().setKind(UndoKind.UNDO_KIND_NOOP);
      } else if (node.hasUndo()) {
        node.getUndoBuilder().setKind(UndoKind.UNDO_KIND_ACTION);
      }
    }
    return node;
  }

  private <T> Ref<T> keepList(String name, int maxFailures, Node.Builder node, Type element) {
    return keep(name, node, generic(List.class, maxFailures == 0 ? element : generic(Optional.class, element)));
  }

  private static Type generic(Class<?> raw, Type argument) {
    return new ParameterizedType() {
      @Override
      public Type[] getActualTypeArguments() {
        return new Type[] {argument};
      }

      @Override
      public Type getRawType() {
        return raw;
      }

      @Override
      public Type getOwnerType() {
        return null;
      }

      @Override
      public String getTypeName() {
        return raw.getName() + "<" + argument.getTypeName() + ">";
      }
    };
  }
}
