/** A first-in-first-out queue whose operations take constant time. */

export class Queue<T> {
  private items: T[] = [];
  private head = 0;

  constructor(items: Iterable<T> = []) {
    this.items = [...items];
  }

  get length(): number {
    return this.items.length - this.head;
  }

  push(item: T): void {
    this.items.push(item);
  }

  peek(): T | undefined {
    return this.items[this.head];
  }

  shift(): T | undefined {
    const item = this.items[this.head];
    if (this.head < this.items.length) {
      this.head += 1;
      if (this.head > 1_000 && this.head * 2 > this.items.length) {
        this.items = this.items.slice(this.head);
        this.head = 0;
      }
    }
    return item;
  }

  clear(): void {
    this.items = [];
    this.head = 0;
  }

  /** Take one item out, wherever it stands. */
  remove(item: T): void {
    const index = this.items.indexOf(item, this.head);
    if (index >= 0) {
      this.items.splice(index, 1);
    }
  }
}
