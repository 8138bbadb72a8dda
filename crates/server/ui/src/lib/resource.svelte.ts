// Something loaded from the server. What was loaded stays on screen while it loads again and when
// that fails: an old answer that says so is better than an empty page.

import { sentence } from './api';

export class Resource<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state<string | null>(null);
  status = $state<number | null>(null);
  isLoading = $state(false);
  #load: (signal: AbortSignal) => Promise<T>;
  #running: AbortController | null = null;

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load;
  }

  async reload(): Promise<void> {
    this.#running?.abort();
    const own = new AbortController();
    this.#running = own;
    this.isLoading = true;
    try {
      const data = await this.#load(own.signal);
      if (own.signal.aborted) return;
      this.data = data;
      this.error = null;
      this.status = 200;
    } catch (error) {
      if (own.signal.aborted) return;
      this.error = sentence(error);
      this.status = (error as { status?: number }).status ?? null;
    } finally {
      if (this.#running === own) this.isLoading = false;
    }
  }

  forget(): void {
    this.#running?.abort();
    this.data = undefined;
    this.error = null;
    this.isLoading = false;
  }
}
