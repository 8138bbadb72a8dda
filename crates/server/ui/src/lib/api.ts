// The one place that talks to the server. Every failure becomes an `ApiError` with a sentence that a
// person can act on; a session that ended and a server that is gone are told apart, because the
// console answers them differently.

import { connection } from './connection.svelte';
import { session } from './session.svelte';

const BASE = '/api/v1';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  get isGone(): boolean {
    return this.status === 0;
  }
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return BASE + path + (text ? `?${text}` : '');
}

async function failure(response: Response): Promise<ApiError> {
  let code = `http_${response.status}`;
  let message = `the server answered ${response.status}`;
  try {
    const body = (await response.json()) as { error?: { code?: string; message?: string } };
    code = body.error?.code ?? code;
    message = body.error?.message ?? message;
  } catch {
    // Not JSON: a proxy in between, or nothing at all.
  }
  return new ApiError(response.status, code, message);
}

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  /** The question whether there is a session must not itself end one. */
  quiet?: boolean;
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET' && session.me) headers['X-CSRF-Token'] = session.me.csrf;
  let response: Response;
  try {
    response = await fetch(address(path, options.query), {
      method,
      headers,
      credentials: 'same-origin',
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    connection.lost();
    throw new ApiError(0, 'unreachable', 'Thymus does not answer');
  }
  // A proxy in front says so when what is behind it is gone.
  if (response.status === 502 || response.status === 504) connection.lost();
  else connection.found();
  if (response.status === 401 && !options.quiet) session.expired();
  if (!response.ok) throw await failure(response);
  return response;
}

async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> =>
  call<T>('GET', path, { query, signal });
export const getQuietly = <T>(path: string): Promise<T> => call<T>('GET', path, { quiet: true });
export const post = <T>(path: string, body: unknown = {}): Promise<T> =>
  call<T>('POST', path, { body });
export const postQuietly = <T>(path: string, body: unknown): Promise<T> =>
  call<T>('POST', path, { body, quiet: true });
export const patch = <T>(path: string, body: unknown): Promise<T> => call<T>('PATCH', path, { body });
export const put = <T>(path: string, body: unknown): Promise<T> => call<T>('PUT', path, { body });
export const remove = <T>(path: string): Promise<T> => call<T>('DELETE', path);

/** A file of the server, handed to the person; errors come before the browser shows anything. */
export async function download(path: string, name: string): Promise<void> {
  const response = await send('GET', path, {});
  save(await response.blob(), name);
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** An entity or id as one part of a path. */
export const part = (text: string): string => encodeURIComponent(text);

export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
