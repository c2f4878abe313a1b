/** Builds graphs of typed handles: a graph whose data does not fit does not compile. */

import type { Action } from "../actions.js";
import { durationOf } from "../durations.js";
import { DefinitionError } from "../errors.js";
import type {
  ActionNode,
  Graph as GraphMessage,
  InputSource,
  MapNode,
  Node,
  SubsagaNode,
} from "../gen/sagaline/v1/saga.js";
import type { TypeSpec } from "../gen/sagaline/v1/payload.js";
import { encodeJson, json, type Codec } from "../payload.js";
import {
  retryMessage,
  timeoutsMessage,
  undoMessage,
  unknownMessage,
  type RetryPolicy,
  type Timeouts,
  type UndoPolicy,
  type Unknown,
} from "./policies.js";
import { Ref, type Input, type InputsFor } from "./refs.js";

/** A finished graph, with the types of its parameters and its result. */
export class Graph<P, out R> {
  constructor(
    readonly message: GraphMessage,
    readonly params: Codec<P>,
    readonly result: { decode(payload: Parameters<Codec<R>["decode"]>[0]): R },
  ) {}
}

export interface After {
  /** Nodes that must have succeeded before, beside those whose output is taken. */
  readonly after?: readonly Ref<unknown>[];
}

export interface NodeOptions extends After {
  readonly undo?: UndoPolicy;
  readonly retry?: RetryPolicy;
  readonly timeouts?: Timeouts;
  readonly unknown?: Unknown;
  /** The point of no return. */
  readonly pivot?: boolean;
}

export interface MapOptions extends NodeOptions {
  /** Elements that may run at once. */
  readonly maxConcurrency?: number;
  /** The first so many must succeed before the rest start. */
  readonly canary?: number;
  /** Elements that may fail before the node fails. */
  readonly maxFailures?: number;
}

const GRAPH_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const NODE_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;

/**
 * ```ts
 * const trip = graph<{ card: string; city: string }>("trip");
 * const room = trip.add("hotel", bookRoom, { city: trip.params.at("city") });
 * const paid = trip.add("payment", charge, { card: trip.params.at("card"), cents: room.at("cents") });
 * const TRIP = trip.build(paid);
 * ```
 */
export function graph<P = null>(name: string, params: Codec<P> = json<P>()): GraphBuilder<P> {
  return new GraphBuilder<P>(name, params);
}

/** Inputs that can be an element's place in its list. */
type NumberKey<In> = { [K in keyof In & string]: number extends In[K] ? K : never }[keyof In & string];

export class GraphBuilder<P> {
  /** The parameters of the saga. */
  readonly params: Ref<P> = new Ref<P>(this, { $case: "params", value: {} });
  private readonly nodes = new Map<string, Node>();
  private readonly outputs = new Map<string, Codec<unknown>>();

  constructor(
    readonly name: string,
    private readonly paramsCodec: Codec<P>,
  ) {
    if (!GRAPH_NAME.test(name)) {
      const rule = "use 1 to 128 of A-Z a-z 0-9 . _ -, a letter or digit first";
      throw new DefinitionError(`${JSON.stringify(name)} can't name a graph: ${rule}`);
    }
  }

  /** A node that a worker runs. */
  add<In extends object, Out>(
    name: string,
    action: Action<In, Out>,
    inputs: InputsFor<NoInfer<In>>,
    options: NodeOptions = {},
  ): Ref<Out> {
    const node = this.actionNode(action, inputs, options);
    return this.node<Out>(name, { $case: "action", value: node }, options, action.output);
  }

  /** A node that has its value from the start. */
  constant<T>(name: string, value: T, codec: Codec<T> = json<T>()): Ref<T> {
    return this.node<T>(name, { $case: "constant", value: { value: codec.encode(value) } }, {}, codec);
  }

  /** A graph as a node. */
  subsaga<P2, R2>(name: string, inner: Graph<P2, R2>, params: Input<NoInfer<P2>>, options: After = {}): Ref<R2> {
    const value: SubsagaNode = {
      graph: inner.message,
      params: params === null ? undefined : this.source(params, inner.params),
    };
    return this.node<R2>(name, { $case: "subsaga", value }, options);
  }

  /**
   * One attempt of an action for each element of a list, which is its input `item` (absent: "item"); the output is the list
   * of theirs. `inputs` are the same for all; `index` names the input that is the element's place in the list, from 0.
   */
  map<In extends object, Out, K extends keyof In & string = keyof In & "item", I extends NumberKey<In> = never>(
    name: string,
    items: Input<readonly NoInfer<In[K]>[]>,
    action: Action<In, Out>,
    options: MapOptions & {
      readonly item?: K;
      readonly index?: I;
      readonly inputs?: InputsFor<Omit<NoInfer<In>, K | I>>;
    } = {},
  ): Ref<Out[]> {
    const each: MapNode["each"] = {
      $case: "action",
      value: this.actionNode(action, options.inputs ?? {}, options),
    };
    if (options.pivot === true) {
      throw new DefinitionError(`node ${name}: a pivot is one node, and a map has as many as its list has elements`);
    }
    const node = this.mapNode(items, each, options, options.item, options.index);
    return this.node<Out[]>(name, { $case: "map", value: node }, options);
  }

  /** A subsaga, whose parameters are the element, for each element of a list. */
  mapSubsaga<T, R>(
    name: string,
    items: Input<readonly T[]>,
    inner: Graph<T, R>,
    options: Omit<MapOptions, keyof Omit<NodeOptions, "after">> = {},
  ): Ref<R[]> {
    const each: MapNode["each"] = { $case: "subsaga", value: { graph: inner.message, params: undefined } };
    return this.node<R[]>(name, { $case: "map", value: this.mapNode(items, each, options) }, options);
  }

  /** A durable timer, in milliseconds from when the node is ready. */
  delay(name: string, millis: number, options: After = {}): Ref<null> {
    return this.node<null>(name, { $case: "delay", value: { duration: durationOf(millis) } }, options);
  }

  /** Waits for `client.signal` with this signal, absent the node's name, for at most `timeout` milliseconds. */
  signal<T>(name: string, options: After & { readonly signal?: string; readonly timeout?: number } = {}): Ref<T> {
    const timeout = options.timeout === undefined ? undefined : durationOf(options.timeout);
    this.named(options.signal ?? name, "a signal");
    return this.node<T>(name, { $case: "signal", value: { signal: options.signal ?? "", timeout } }, options);
  }

  /** The graph as it stands; `result` is the node whose output is the saga's. */
  build(): Graph<P, unknown>;
  build<R>(result: Ref<R>): Graph<P, R>;
  build<R>(result?: Ref<R>): Graph<P, R> {
    if (this.nodes.size === 0) {
      throw new DefinitionError(`graph ${this.name} has no nodes`);
    }
    if (result !== undefined) {
      this.check(result);
      if (result.source.$case !== "node" || result.path.length > 0) {
        throw new DefinitionError(`the result of graph ${this.name} must be a node's whole output`);
      }
    }
    const node = result?.source.$case === "node" ? result.source.value : "";
    const message: GraphMessage = { name: this.name, nodes: [...this.nodes.values()], result: node };
    return new Graph<P, R>(message, this.paramsCodec, (this.outputs.get(node) ?? json()) as Codec<R>);
  }

  private node<T>(name: string, kind: Node["kind"], options: After, output?: Codec<unknown>): Ref<T> {
    this.named(name, "a node");
    if (this.nodes.has(name)) {
      throw new DefinitionError(`graph ${this.name} has two nodes ${name}`);
    }
    const after = (options.after ?? []).map((ref) => {
      this.check(ref);
      if (ref.source.$case !== "node") {
        throw new DefinitionError(`node ${name} can come after nodes alone, not after the parameters`);
      }
      return ref.source.value;
    });
    this.nodes.set(name, { name, after, kind });
    if (output !== undefined) {
      this.outputs.set(name, output);
    }
    return new Ref<T>(this, { $case: "node", value: name });
  }

  private actionNode<In extends object, Out>(
    action: Action<In, Out>,
    inputs: object,
    options: NodeOptions,
  ): ActionNode {
    const codecs = (action.options.inputs ?? {}) as Record<string, Codec<unknown> | undefined>;
    const codecOf = (name: string): Codec<unknown> | undefined =>
      Object.hasOwn(codecs, name) ? codecs[name] : undefined;
    const types = Object.keys(codecs).flatMap((name): [string, TypeSpec][] => {
      const type = codecOf(name)?.type;
      return type === undefined ? [] : [[name, type]];
    });
    const sources = Object.entries(inputs)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]): [string, InputSource] => [name, this.source(value, codecOf(name))]);
    const undo =
      action.undo === undefined && !action.elsewhere && options.undo?.kind === undefined
        ? ({ ...options.undo, kind: "noop" } as const)
        : options.undo;
    return {
      action: action.name,
      version: action.version,
      inputs: new Map(sources),
      undo: undoMessage(options.pivot === true ? options.undo : undo),
      retry: retryMessage(options.retry),
      timeouts: timeoutsMessage(options.timeouts),
      unknownPolicy: unknownMessage(options.unknown),
      pivot: options.pivot ?? false,
      inputTypes: new Map(types),
      outputType: action.output.type,
    };
  }

  private named(name: string, what: string): void {
    if (!NODE_NAME.test(name)) {
      const rule = "use 1 to 64 of A-Z a-z 0-9 _ . -, a letter or _ first";
      throw new DefinitionError(`graph ${this.name}: ${JSON.stringify(name)} can't name ${what}: ${rule}`);
    }
  }

  private mapNode(items: unknown, each: MapNode["each"], options: MapOptions, item = "", index = ""): MapNode {
    return {
      items: this.source(items),
      each,
      maxConcurrency: options.maxConcurrency ?? 0,
      canary: options.canary ?? 0,
      maxFailures: options.maxFailures ?? 0,
      item,
      index,
    };
  }

  private source(input: unknown, codec?: Codec<unknown>): InputSource {
    if (!(input instanceof Ref)) {
      const literal = codec === undefined ? encodeJson(input) : codec.encode(input);
      return { source: { $case: "literal", value: literal }, path: [] };
    }
    this.check(input);
    return { source: input.source, path: [...input.path] };
  }

  private check(ref: Ref<unknown>): void {
    if (ref.owner !== this) {
      throw new DefinitionError(`graph ${this.name} is given a value of another graph: pass it as a parameter`);
    }
  }
}
