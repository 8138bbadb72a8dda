// Addresses in the browser's history. A page is chosen by the first part of the path; filters live in
// the query, so that a view can be sent to a colleague.

class Router {
  path = $state(location.pathname);
  search = $state(location.search);

  get parts(): string[] {
    return this.path
      .split('/')
      .filter(Boolean)
      .map((part) => {
        try {
          return decodeURIComponent(part);
        } catch {
          return part;
        }
      });
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.search);
  }

  go(to: string, replace = false): void {
    const target = new URL(to, location.origin);
    if (replace) history.replaceState(null, '', target);
    else history.pushState(null, '', target);
    this.#read();
  }

  /** Changes filters without a step in the history. */
  refine(changes: Record<string, string | null>): void {
    const query = this.query;
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    const text = query.toString();
    this.go(this.path + (text ? `?${text}` : ''), true);
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  start(): () => void {
    const back = (): void => this.#read();
    const click = (event: MouseEvent): void => {
      if (event.defaultPrevented || event.button !== 0) return;
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest('a');
      if (!link || link.target || link.hasAttribute('download')) return;
      if (link.origin !== location.origin || link.pathname.startsWith('/api/')) return;
      event.preventDefault();
      if (link.href !== location.href) this.go(link.href);
    };
    addEventListener('popstate', back);
    document.addEventListener('click', click);
    return () => {
      removeEventListener('popstate', back);
      document.removeEventListener('click', click);
    };
  }
}

export const router = new Router();

export const incidentPath = (id: string): string => `/incidents/${encodeURIComponent(id)}`;
export const devicePath = (entity: string): string => `/devices/${encodeURIComponent(entity)}`;
export const huntPath = (sql: string): string => `/hunt?sql=${encodeURIComponent(sql)}`;
