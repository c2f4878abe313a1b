/** Typed handles of values that a saga will have: outputs of nodes, parameters, and fields in them. */

declare const TYPE: unique symbol;

/** Where a value comes from. */
export type Source =
  { readonly $case: "node"; readonly value: string } | { readonly $case: "params"; readonly value: object };

/** A value of type `T` that a node of the graph will have; only the builder and `at` make them. */
export class Ref<out T> {
  declare readonly [TYPE]: T;

  constructor(
    /** The builder whose graph it is of. */
    readonly owner: object,
    readonly source: Source,
    readonly path: readonly string[] = [],
  ) {}

  /** A field of an object, or an element of an array. */
  at<K extends keyof T & (string | number)>(key: K): Ref<T[K]> {
    return new Ref<T[K]>(this.owner, this.source, [...this.path, String(key)]);
  }
}

/** What an input takes: a handle, or a value fixed in the graph. */
export type Input<T> = Ref<T> | T;

/** Inputs by name, each of which fits. */
export type InputsFor<In> = { readonly [K in keyof In]: Input<In[K]> };
