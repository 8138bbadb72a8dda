// Whether the server answers, since when it does not, and when something came back.

class Connection {
  isLost = $state(false);
  since = $state<number | null>(null);
  /** Grows each time the server is back, so that what is on screen loads again. */
  returns = $state(0);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #waits = 0;

  lost(): void {
    if (!this.isLost) {
      this.isLost = true;
      this.since = Date.now();
      this.#waits = 0;
    }
    this.#try();
  }

  found(): void {
    if (!this.isLost) return;
    this.isLost = false;
    this.since = null;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.returns += 1;
  }

  #try(): void {
    if (this.#timer !== undefined) return;
    const wait = Math.min(10_000, 1000 * 1.6 ** this.#waits);
    this.#waits += 1;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.again();
    }, wait);
  }

  async again(): Promise<void> {
    try {
      const response = await fetch('/api/v1/setup', { cache: 'no-store' });
      if (response.status < 500) return this.found();
    } catch {
      // Still gone.
    }
    if (this.isLost) this.#try();
  }
}

export const connection = new Connection();
