/** So many things at once, and no more. */
export class Slots {
  private taken = 0;
  private waiting: (() => void)[] = [];

  constructor(private readonly count: number) {}

  /** Runs `work` as soon as there is a slot, and resolves then, not at its end. `work` must not reject. */
  async start(work: () => Promise<void>): Promise<void> {
    while (this.taken >= this.count) await this.change();
    this.taken += 1;
    void work().finally(() => {
      this.taken -= 1;
      for (const wake of this.waiting.splice(0)) wake();
    });
  }

  /** Resolves when everything has ended. */
  async allEnded(): Promise<void> {
    while (this.taken > 0) await this.change();
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}
