// Server-sent events. Nothing here changes a list on screen: pages learn that something changed and
// decide how to show it without moving what is being read.

import { getQuietly } from './api';
import { connection } from './connection.svelte';
import { session } from './session.svelte';
import type { Me, Status } from './types';

export interface IncidentNotice {
  id: string;
  title: string;
  confidence: string;
}

type Listener = (what: string, data: unknown) => void;

class Live {
  status = $state<Status | null>(null);
  isOpen = $state(false);
  #source: EventSource | null = null;
  #listeners = new Set<Listener>();
  #again: ReturnType<typeof setTimeout> | undefined;

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.stop();
    const source = new EventSource('/api/v1/stream');
    this.#source = source;
    source.onopen = () => {
      this.isOpen = true;
      connection.found();
    };
    source.onerror = () => {
      this.isOpen = false;
      // A refused stream is closed for good, a lost one is tried again by the browser.
      if (source.readyState === EventSource.CLOSED) this.#refused();
      else connection.lost();
    };
    source.addEventListener('status', (event) => {
      this.status = read<Status>(event) ?? this.status;
      this.#tell('status', this.status);
    });
    source.addEventListener('incident', (event) => this.#tell('incident', read(event)));
    source.addEventListener('changed', (event) => this.#tell('changed', read(event)));
  }

  stop(): void {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = null;
    this.isOpen = false;
  }

  #refused(): void {
    this.stop();
    this.#again = setTimeout(async () => {
      if (!session.me || session.hasExpired) return;
      try {
        await getQuietly<Me>('/me');
        this.start();
      } catch (error) {
        if ((error as { status?: number }).status === 401) session.expired();
        else this.#refused();
      }
    }, 1500);
  }

  #tell(what: string, data: unknown): void {
    for (const listener of this.#listeners) listener(what, data);
  }
}

function read<T>(event: MessageEvent): T | null {
  try {
    return JSON.parse(event.data as string) as T;
  } catch {
    return null;
  }
}

export const live = new Live();
