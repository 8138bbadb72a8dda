export type Theme = 'system' | 'light' | 'dark';

const KEY = 'thymus.theme';

class Themes {
  chosen = $state<Theme>(stored());
  #system = matchMedia('(prefers-color-scheme: dark)');
  systemIsDark = $state(this.#system.matches);

  constructor() {
    this.#system.addEventListener('change', (event) => (this.systemIsDark = event.matches));
  }

  get isDark(): boolean {
    return this.chosen === 'dark' || (this.chosen === 'system' && this.systemIsDark);
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      if (theme === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // Forgotten with the page, then.
    }
  }

  toggle(): void {
    this.choose(this.isDark ? 'light' : 'dark');
  }
}

function stored(): Theme {
  const now = document.documentElement.dataset.theme;
  return now === 'dark' || now === 'light' ? now : 'system';
}

export const theme = new Themes();
