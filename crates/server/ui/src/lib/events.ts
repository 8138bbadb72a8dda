// One line for an event: what a person would read out of the record.

import { bytes } from './format';
import type { EventRecord } from './types';

const text = (value: unknown): string =>
  value === null || value === undefined || value === ''
    ? ''
    : Array.isArray(value)
      ? value.map((part) => (typeof part === 'object' && part !== null ? text((part as Record<string, unknown>)['data']) : text(part))).join(', ')
      : typeof value === 'object'
        ? JSON.stringify(value)
        : String(value);

type Say = (event: EventRecord) => (string | false)[];

const SAY: Record<string, Say> = {
  arp: (e) => [e['reply'] ? `${text(e['sender'])} is at ${text(e['sender_mac'])}` : `who has ${text(e['target'])}?`],
  dns: (e) => [text(e['query']), e['rcode'] ? `code ${text(e['rcode'])}` : '', text(e['answers']) && `→ ${text(e['answers'])}`],
  flow: (e) => [text(e['service']), text(e['state']), `${bytes(Number(e['client_bytes'] ?? 0))} out`, `${bytes(Number(e['server_bytes'] ?? 0))} in`],
  http: (e) => [text(e['method']), text(e['host']) + text(e['uri']), text(e['status']), text(e['user_agent'])],
  tls: (e) => [text(e['sni']) || 'no name', text(e['alpn']), text(e['ja4'])],
  smb: (e) => [text(e['action']), text(e['share']), text(e['path']), text(e['new_path'])],
  login: (e) => [text(e['service']), text(e['user']), text(e['outcome']), text(e['method'])],
  kerberos: (e) => [text(e['request']), text(e['client']), text(e['service']), text(e['outcome'])],
  ntlm: (e) => [text(e['user']), e['workstation'] ? `from ${text(e['workstation'])}` : '', text(e['outcome']), text(e['carrier'])],
  ssh: (e) => [text(e['client']), text(e['server'])],
  dce_rpc: (e) => [text(e['interface']), text(e['operation']), text(e['outcome'])],
  ics: (e) => [text(e['protocol']), text(e['name']), e['write'] ? 'write' : 'read'],
  mail: (e) => [text(e['from']), text(e['to']), text(e['subject'])],
  traffic: (e) => [text(e['addr']), `${text(e['packets_out'])} packets out`, `${text(e['packets_in'])} in`],
  operation: (e) => [text(e['service']), text(e['verb']), text(e['object']), text(e['outcome'])],
  quirk: (e) => [text(e['parser']), text(e['quirk'])],
};

export function summary(event: EventRecord): string {
  const say = SAY[event.kind];
  const parts = say
    ? say(event)
    : Object.entries(event)
        .filter(([key, value]) => !['id', 'ts', 'kind', 'conn'].includes(key) && text(value) !== '')
        .slice(0, 4)
        .map(([key, value]) => `${key} ${text(value)}`);
  return parts.filter(Boolean).join(' · ');
}

export function between(event: EventRecord): string {
  if (!event.conn) return text(event['sender'] ?? event['addr'] ?? '');
  const { client, server } = event.conn;
  const host = (addr: string): string => (addr.includes(':') ? `[${addr}]` : addr);
  return `${client.addr} → ${host(server.addr)}:${server.port}`;
}
