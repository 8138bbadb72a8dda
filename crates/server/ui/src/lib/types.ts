// What the interface of the server answers (docs/openapi.json). Only what the console reads is named;
// everything that a person did not type comes from the wire and is untrusted text.

export type Role = 'viewer' | 'analyst' | 'admin';
export type Confidence = 'low' | 'medium' | 'high';
export type Phase =
  | 'unusual'
  | 'reconnaissance'
  | 'access'
  | 'credentials'
  | 'control'
  | 'lateral'
  | 'exfiltration'
  | 'impact';
export type PeerRole = 'target' | 'controller' | 'relay' | 'account';

export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
  total?: number;
}

export interface Me {
  user: string;
  role: Role;
  csrf: string;
  pseudonymised?: boolean;
}

export interface Hour {
  hour: string;
  events: number;
  alerts: number;
  incidents: number;
}

export interface Overview {
  now: string;
  data_until?: string | null;
  is_demo?: boolean;
  first_run?: boolean;
  incidents_open: number;
  by_confidence?: Partial<Record<Confidence, number>>;
  devices: number;
  cold_devices: number;
  coverage?: Record<string, unknown> & { judged_share?: number | null };
  budget?: { per_day?: number | null; shown_24h?: number };
  activity?: Hour[];
  source?: string | null;
}

export interface CaseHead {
  state: 'open' | 'acknowledged' | 'closed';
  assignee?: string | null;
  verdict?: 'attack' | 'harmless' | 'wrong' | null;
  comments?: number;
}

export interface TechniqueRef {
  id: string;
  name?: string;
}

export interface IncidentHead {
  id: string;
  rank: number;
  shown: boolean;
  title: string;
  hypothesis: string;
  confidence: Confidence;
  p_value: number;
  first_seen: string;
  last_seen: string;
  devices: { entity: string; name: string; suspected: boolean }[];
  phases: Phase[];
  techniques: TechniqueRef[];
  alerts: number;
  case?: CaseHead;
  /** Held below the line by exceptions. */
  is_excepted?: boolean;
  /** By how much its like having been called harmless or wrong lowers it. */
  lowered?: number;
  is_new?: boolean;
}

export interface Fact {
  key: string;
  type: string;
  value: unknown;
  text: string;
  events?: string[];
  events_total?: number;
}

export interface Alert {
  id: string;
  detector: string;
  entity: string;
  peers: { role: PeerRole; entity: string }[];
  phase: Phase;
  techniques: string[];
  first_seen: string;
  last_seen: string;
  p_value: number;
  calibrated_by: string;
  discovered: boolean;
  statement?: string | null;
  template?: string | null;
  evidence: Fact[];
  counterfactual?: string | null;
}

export interface ExceptionScope {
  detector: string;
  device?: string | null;
  label?: string | null;
  peer?: string | null;
  facts: { key: string; text: string }[];
}

export interface Exception {
  id: number;
  scope: ExceptionScope;
  owner: string;
  reason: string;
  incident?: string | null;
  created_by: string;
  created_at: string;
  until?: string | null;
  is_live: boolean;
  incidents: number;
  /** Shown all the same: the tripwire. */
  tripped: number;
  /** Called an attack by somebody. */
  attacks: number;
}

export interface ExceptionTest {
  days: number;
  alerts_of_detector: number;
  alerts: number;
  devices: number;
  incidents: number;
  held: HeldIncident[];
  attacks: HeldIncident[];
}

export interface HeldIncident {
  id: string;
  title: string;
}

export interface Comment {
  at: string;
  user: string;
  text: string;
}

export interface Case {
  state: CaseHead['state'];
  assignee?: string | null;
  verdict?: CaseHead['verdict'];
  reason?: string | null;
  comments?: Comment[];
  links?: { incident: string; note?: string | null }[];
  history?: { at: string; user: string; what: string }[];
}

export interface Incident {
  id: string;
  rank: number;
  shown: boolean;
  title: string;
  hypothesis: string;
  confidence: Confidence;
  p_value: number;
  affected: { entity: string; name: string; aliases: string[]; suspected: boolean }[];
  techniques: (string | TechniqueRef)[];
  first_seen: string;
  last_seen: string;
  is_excepted?: boolean;
  exceptions?: { id: number; alerts: string[]; tripped?: string | null }[];
  lowered?: { by: number; is_below: boolean; because: HeldIncident[] } | null;
  narrative?: string;
  next_steps: string[];
  merged_from: string[];
  alerts: Alert[];
  /** Verdicts on the files that its alerts name. */
  files?: FileVerdict[];
  case?: Case;
}

export interface EventRecord {
  id: string;
  ts: string;
  kind: string;
  conn?: {
    client: { addr: string; port: number };
    server: { addr: string; port: number };
    transport: string;
  } | null;
  [field: string]: unknown;
}

export interface Device {
  entity: string;
  name: string;
  addresses?: string[];
  names?: string[];
  mac?: string | null;
  first_seen?: string | null;
  last_seen?: string | null;
  is_cold?: boolean;
  days_seen?: number;
  roles?: string[];
  group?: unknown;
  labels?: string[];
  value?: number;
  note?: string | null;
  incidents_open?: number;
  bytes_24h?: number;
  peers_24h?: number;
}

export interface DevicePeer {
  addr: string;
  name?: string | null;
  service?: string | null;
  direction?: string | null;
  flows: number;
  bytes: number;
  first_seen?: string | null;
  last_seen?: string | null;
  is_new?: boolean;
  /** How many peers a row stands for whose address is `*`. */
  folded?: number;
}

export interface DeviceLife {
  device: Device;
  peers: DevicePeer[];
  services: { service: string; flows: number; bytes: number; direction?: string | null }[];
  hours: number[];
  days: { day: string; flows: number; bytes_out: number; bytes_in: number }[];
  incidents: { id: string; title: string; confidence?: Confidence; last_seen?: string }[];
  similar: { entity: string; name: string; score: number; shared?: string[] }[];
  cold?: { is_cold: boolean; why?: string | null };
}

export interface ByteRange {
  offset: number;
  length: number;
  weight?: number;
  section?: string | null;
  shown_offset?: number;
  hex: string;
  text?: string | null;
}

export interface FileVerdict {
  path?: string | null;
  member?: string | null;
  label?: string | null;
  sha256?: string | null;
  /** Of what was inside a file, the digest of that file. */
  file_sha256?: string | null;
  type?: string | null;
  packer?: string | null;
  outcome: 'malicious' | 'suspicious' | 'clean' | 'not_judged';
  reason?: string | null;
  probability?: number | null;
  model?: string | null;
  benign_share?: number | null;
  certified_bytes?: number | null;
  outlives_additions?: boolean | null;
  ranges?: ByteRange[];
  masking?: { bytes: number; outcome: string; probability: number; ranges: ByteRange[] } | null;
  seen_at?: string | null;
  device?: string | null;
  peer?: string | null;
  protocol?: string | null;
  event?: string | null;
  size?: number | null;
  upload?: boolean | null;
  /** Incidents whose evidence it is, the gravest first. */
  incidents?: { id: string; title: string; shown: boolean }[];
}

/** What a file is called, with its place inside another. */
export const fileName = (file: FileVerdict): string => (file.member ? `${file.path ?? ''} ▸ ${file.member}` : file.path || file.sha256 || 'no name');

export interface QueryResult {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  truncated: boolean;
  elapsed_ms: number;
  scanned_rows?: number;
  skipped?: string[];
}

export interface QueryTable {
  name: string;
  about?: string | null;
  columns: { name: string; type: string; about?: string | null }[];
}

export interface DetectorHealth {
  id: string;
  title: string;
  promised?: number | null;
  measured?: number | null;
  hours?: number | null;
  /** How many times its evidence is weighed less. */
  weight?: number | null;
  demoted_since?: string | null;
  /** Rates that fit what was counted, 95 %. */
  interval?: [number, number] | null;
  /** Chance alone brings as much evidence against the promise about once in so many hours. */
  by_chance_hours?: number | null;
  state: 'ok' | 'so_far' | 'within_chance' | 'above' | 'demoted' | 'disabled' | 'learning' | string;
  /** The state in the words of the command line. */
  words?: string | null;
}

export interface Status {
  at?: string;
  source?: string | null;
  /** The interface is away or switched off. */
  is_down?: boolean;
  coverage?: Record<string, unknown>;
  rates?: { packets_s?: number; bytes_s?: number; events_s?: number; records_s?: number };
  lag_ms?: number | null;
  memory_bytes?: Record<string, number>;
  processes?: { name: string; pid?: number; restarts?: number; since?: string }[];
  detectors?: DetectorHealth[];
  /** Who sends flows, samples and messages, those with trouble first. */
  exporters?: { total: number; items: Exporter[] } | null;
}

export interface Exporter {
  exporter: string;
  kinds: string[];
  last_seen?: string | null;
  datagrams: number;
  records: number;
  counter_samples: number;
  options: number;
  templates: number;
  templates_refused: number;
  templates_missing: number;
  waiting: number;
  unreadable: number;
  lost: number;
  times_not_believed: number;
  clock_shift_secs: number;
  sampling: number;
  programs: { program: string; not_judged: number }[];
}

/** What drills said of one attack, last. */
export interface DrillScenario {
  id: string;
  title: string;
  unit: string;
  at: string;
  sizes: { size: number; found: number; of: number; interval: [number, number] }[];
  median_delay_secs?: number | null;
  devices_tried: number;
  devices_known: number;
  background_events: number;
  learned_until: string;
  tried: { device: string; name: string; smallest?: number | null; delay_secs?: number | null; title?: string | null; detector?: string | null }[];
}

export interface Health {
  status?: Status | null;
  history?: Record<string, [string | number, number | null][]>;
  storage?: {
    db_bytes?: number;
    events_bytes?: number;
    packets_bytes?: number;
    limit_bytes?: number | null;
    oldest_event?: string | null;
    /** Why something is not kept now. */
    trouble?: string | null;
  };
  /** The share is that which nobody looked at. */
  blind_spots?: { what: string; share: number | null; why: string }[];
  /** What `thymus drill` said last. */
  drill?: { at: string; scenarios: DrillScenario[] } | null;
  remarks?: string[];
  dropped?: Record<string, number>;
}

export interface AuditRow {
  seq: number;
  at: string;
  user: string;
  action: string;
  target?: string | null;
  detail?: unknown;
  hash: string;
}

export interface User {
  name: string;
  role: Role;
  pseudonymised?: boolean;
  is_disabled?: boolean;
  created_at?: string | null;
}

export interface Token {
  id: string;
  name?: string;
  role: Role;
  created_at?: string | null;
  expires_at?: string | null;
  used_at?: string | null;
  token?: string;
}

/** A usual conversation that would have been cut. */
export interface CutTalk {
  client: string;
  server: string;
  service: string;
  flows: number;
}

/** Something that is done, or could be, about an incident. */
export interface Decision {
  id: string;
  incident: string;
  incident_title: string | null;
  device: string;
  verb: string;
  title: string;
  cuts: string[];
  cuts_total: number;
  reason: string;
  mode: string;
  state: string;
  is_over: boolean;
  stage: number;
  rehearsal: { sentence: string; days: number; flows: number; cut: number; devices: number; named: CutTalk[]; unknown: number };
  proposed_at: string;
  duration_secs: number;
  began_at: string | null;
  until: string | null;
  confirm_by: string | null;
  packets: number | null;
  bytes: number | null;
  history: { at: string; by: string; what: string }[];
}

/** How the response stands. */
export interface ResponseStanding {
  is_set_up: boolean;
  is_running: boolean;
  why_not: string | null;
  mode: string | null;
  acts: boolean | null;
  is_halted: boolean;
  trouble: string | null;
  policy_trouble: string | null;
  pending: number;
  active: number;
  over: number;
  devices: number;
  never: { what: string; why: string }[];
}
