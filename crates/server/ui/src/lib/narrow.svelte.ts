/** Whether the page is as narrow as a phone: some lists then show other rows. */
class Narrow {
  #query = matchMedia('(max-width: 720px)');
  is = $state(this.#query.matches);
  constructor() {
    this.#query.addEventListener('change', (event) => (this.is = event.matches));
  }
}

export const narrow = new Narrow();
