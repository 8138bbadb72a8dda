// Short words after something was done, or could not be.

class Toasts {
  items = $state<{ id: number; text: string; isBad: boolean }[]>([]);
  #next = 1;

  say(text: string, isBad = false): void {
    const id = this.#next++;
    this.items = [...this.items.slice(-2), { id, text, isBad }];
    setTimeout(() => (this.items = this.items.filter((item) => item.id !== id)), isBad ? 8000 : 4000);
  }
}

export const toasts = new Toasts();
