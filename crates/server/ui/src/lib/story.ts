// One incident as a picture over time: a lane for each device, a bar for each thing it did, a thread
// to whom it did it. Positions follow from the data alone, so the same incident always gives the same
// picture.

import { PHASES } from './format';
import { entityParts } from './text';
import type { Alert, Incident, PeerRole, Phase } from './types';

/** Alerts of one detector about one entity: one thing that was done, maybe to many. */
export interface Step {
  id: string;
  detector: string;
  entity: string;
  phase: Phase;
  first: number;
  last: number;
  /** In order of time. */
  alerts: Alert[];
  /** The one that is told. */
  lead: Alert;
  peers: { entity: string; role: PeerRole }[];
}

export type LaneGroup = 'outside' | 'suspected' | 'target' | 'account' | 'more';

export interface Lane {
  entity: string;
  name: string;
  group: LaneGroup;
  /** For `more`: who stands behind it. */
  entities: string[];
  suspected: boolean;
}

const gravity = (phase: Phase): number => PHASES.indexOf(phase) + 1;

export function stepsOf(alerts: Alert[]): Step[] {
  const groups = new Map<string, Alert[]>();
  for (const alert of alerts) {
    const key = `${alert.detector}\n${alert.entity}\n${alert.phase}`;
    const group = groups.get(key);
    if (group) group.push(alert);
    else groups.set(key, [alert]);
  }
  const steps = [...groups.values()].map((group): Step => {
    const own = [...group].sort((a, b) => Date.parse(a.first_seen) - Date.parse(b.first_seen) || (a.id < b.id ? -1 : 1));
    const lead = own.reduce((best, alert) => (alert.p_value > best.p_value ? alert : best));
    const peers = new Map<string, { entity: string; role: PeerRole }>();
    for (const alert of own) for (const peer of alert.peers) if (!peers.has(peer.entity)) peers.set(peer.entity, peer);
    return {
      id: lead.id,
      detector: lead.detector,
      entity: lead.entity,
      phase: lead.phase,
      first: Math.min(...own.map((alert) => Date.parse(alert.first_seen))),
      last: Math.max(...own.map((alert) => Date.parse(alert.last_seen))),
      alerts: own,
      lead,
      peers: [...peers.values()],
    };
  });
  return steps.sort((a, b) => a.first - b.first || gravity(a.phase) - gravity(b.phase) || (a.id < b.id ? -1 : 1));
}

export interface Lanes {
  lanes: Lane[];
  /** The lane of each entity, hidden ones included. */
  of: Map<string, number>;
}

/** Most lanes of targets; the rest share one. */
const TARGETS_MAX = 8;
const OUTSIDE_MAX = 5;
const SUSPECTED_MAX = 8;
const ACCOUNTS_MAX = 4;

export function lanesOf(incident: Pick<Incident, 'affected'>, steps: Step[]): Lanes {
  const names = new Map(incident.affected.map((part) => [part.entity, part.name]));
  const suspected = new Set(incident.affected.filter((part) => part.suspected).map((part) => part.entity));
  const acting = new Set(steps.map((step) => step.entity));
  const controllers = new Set(steps.flatMap((step) => step.peers.filter((peer) => peer.role === 'controller').map((peer) => peer.entity)));
  const weight = new Map<string, number>();
  const order = new Map<string, number>();
  const meet = (entity: string, by: number): void => {
    weight.set(entity, Math.max(weight.get(entity) ?? 0, by));
    if (!order.has(entity)) order.set(entity, order.size);
  };
  for (const step of steps) {
    meet(step.entity, gravity(step.phase));
    for (const peer of step.peers) meet(peer.entity, gravity(step.phase));
  }
  const groupOf = (entity: string): LaneGroup => {
    const { kind } = entityParts(entity);
    if (kind === 'user') return 'account';
    if (acting.has(entity)) return kind === 'external' ? 'outside' : 'suspected';
    if (kind === 'external' && (controllers.has(entity) || suspected.has(entity))) return 'outside';
    return suspected.has(entity) ? 'suspected' : 'target';
  };
  const byGroup: Record<'outside' | 'suspected' | 'target' | 'account', string[]> = { outside: [], suspected: [], target: [], account: [] };
  for (const entity of order.keys()) {
    const group = groupOf(entity);
    if (group !== 'more') byGroup[group].push(entity);
  }
  const byOrder = (a: string, b: string): number => (order.get(a) ?? 0) - (order.get(b) ?? 0);
  const byWeight = (a: string, b: string): number => (weight.get(b) ?? 0) - (weight.get(a) ?? 0) || byOrder(a, b);
  byGroup.target.sort(byWeight);
  byGroup.suspected.sort(byOrder);
  byGroup.outside.sort(byWeight);
  byGroup.account.sort(byOrder);
  const lanes: Lane[] = [];
  const of = new Map<string, number>();
  const add = (entities: string[], group: 'outside' | 'suspected' | 'target' | 'account', most: number): void => {
    const whole = entities.length <= most + 1 ? entities : entities.slice(0, most);
    for (const entity of whole) {
      of.set(entity, lanes.length);
      lanes.push({ entity, name: names.get(entity) ?? entityParts(entity).key, group, entities: [entity], suspected: suspected.has(entity) || acting.has(entity) });
    }
    const rest = entities.slice(whole.length);
    if (rest.length > 0) {
      for (const entity of rest) of.set(entity, lanes.length);
      lanes.push({ entity: `more:${group}`, name: `${rest.length} more`, group: 'more', entities: rest, suspected: false });
    }
  };
  add(byGroup.outside, 'outside', OUTSIDE_MAX);
  add(byGroup.suspected, 'suspected', SUSPECTED_MAX);
  add(byGroup.target, 'target', TARGETS_MAX);
  add(byGroup.account, 'account', ACCOUNTS_MAX);
  return { lanes, of };
}

export interface Bar {
  step: Step;
  x: number;
  width: number;
  y: number;
  label: string;
  labelX: number;
  labelInside: boolean;
  /** It ends at `labelX`. */
  labelEnds: boolean;
}

export interface Thread {
  step: Step;
  x: number;
  fromY: number;
  toY: number;
  toX2: number;
  /** It runs from the other one to the actor. */
  flips: boolean;
  count: number;
}

export interface Picture {
  width: number;
  height: number;
  left: number;
  lanes: (Lane & { y: number; height: number })[];
  bars: Bar[];
  threads: Thread[];
  ticks: { x: number; at: number }[];
  heads: { y: number; group: LaneGroup }[];
}

const ROW = 22;
const LANE = 30;
const HEAD = 22;
const TOP = 26;
const LETTER = 6.6;

const NICE = [1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800].map((s) => s * 1000);

/** Round times of the reader's zone. */
export function ticksOf(first: number, last: number, most: number): number[] {
  const size = NICE.find((step) => (last - first) / step <= most) ?? 30 * 86_400_000;
  const zone = new Date(first).getTimezoneOffset() * 60_000;
  const out: number[] = [];
  for (let at = Math.ceil((first - zone) / size) * size + zone; at <= last; at += size) out.push(at);
  return out;
}

export function picture(incident: Pick<Incident, 'affected'>, steps: Step[], width: number, left: number, label: (alert: Alert) => string): Picture {
  const { lanes, of } = lanesOf(incident, steps);
  const first = Math.min(...steps.map((step) => step.first));
  const last = Math.max(...steps.map((step) => step.last), first + 1000);
  const room = width - left - 16;
  const pad = 10;
  const xOf = (at: number): number => left + pad + ((at - first) / (last - first)) * (room - 2 * pad);
  // Rows of bars within the lanes, each as high up as it finds room.
  const rows: { end: number }[][] = lanes.map(() => []);
  const placed = steps.map((step) => {
    const lane = of.get(step.entity) ?? 0;
    const x = xOf(step.first);
    const barWidth = Math.max(7, xOf(step.last) - x);
    const text = step.alerts.length > 1 ? `${label(step.lead)} ×${step.alerts.length}` : label(step.lead);
    const textWidth = text.length * LETTER + 12;
    const labelInside = barWidth >= textWidth;
    const isLate = !labelInside && x + barWidth + textWidth > left + room;
    const from = isLate ? x - textWidth : x;
    const to = labelInside || isLate ? x + barWidth : x + barWidth + textWidth;
    const own = rows[lane] ?? [];
    let row = own.findIndex((one) => one.end + 6 < from);
    if (row < 0) row = own.push({ end: to }) - 1;
    else (own[row] as { end: number }).end = to;
    return { step, lane, row, x, barWidth, text, labelInside, labelX: labelInside ? x + 7 : isLate ? x - 6 : x + barWidth + 6, labelEnds: isLate };
  });
  const heads: Picture['heads'] = [];
  let y = TOP;
  let before: LaneGroup | null = null;
  const drawn = lanes.map((lane, index) => {
    if (lane.group !== before && lane.group !== 'more') {
      heads.push({ y: y + HEAD - 7, group: lane.group });
      y += HEAD;
      before = lane.group;
    }
    const height = Math.max(LANE, (rows[index]?.length ?? 0) * ROW + 10);
    const at = y;
    y += height;
    return { ...lane, y: at, height };
  });
  const bars = placed.map((one): Bar => {
    const lane = drawn[one.lane];
    return {
      step: one.step,
      x: one.x,
      width: one.barWidth,
      y: (lane?.y ?? 0) + 5 + one.row * ROW,
      label: one.text,
      labelX: one.labelX,
      labelInside: one.labelInside,
      labelEnds: one.labelEnds,
    };
  });
  return {
    width,
    height: y + 8,
    left,
    lanes: drawn,
    bars,
    threads: threadsOf(bars, drawn, of, xOf),
    ticks: ticksOf(first, last, Math.max(2, Math.floor(room / 110))).map((at) => ({ at, x: xOf(at) })),
    heads,
  };
}

export const steers = (step: Step, role: PeerRole): boolean => role === 'controller' && step.phase !== 'exfiltration';

/** Threads that would lie on each other stand beside each other. */
function threadsOf(bars: Bar[], lanes: Picture['lanes'], of: Map<string, number>, xOf: (at: number) => number): Thread[] {
  const threads: Thread[] = [];
  const used: number[] = [];
  for (const bar of bars) {
    const targets = new Map<number, { role: PeerRole; count: number }>();
    for (const peer of bar.step.peers) {
      const lane = of.get(peer.entity);
      if (lane === undefined || lanes[lane]?.entity === bar.step.entity) continue;
      const known = targets.get(lane);
      if (known) known.count += 1;
      else targets.set(lane, { role: peer.role, count: 1 });
    }
    if (targets.size === 0) continue;
    let x = bar.x + 3;
    while (used.some((other) => Math.abs(other - x) < 5)) x += 5;
    used.push(x);
    for (const [index, { role, count }] of [...targets].sort((a, b) => a[0] - b[0])) {
      const lane = lanes[index];
      if (!lane) continue;
      const middle = lane.y + Math.min(lane.height, LANE) / 2;
      const isUp = middle < bar.y;
      threads.push({
        step: bar.step,
        x,
        fromY: isUp ? bar.y : bar.y + 16,
        toY: middle,
        toX2: Math.max(x, xOf(bar.step.last)),
        flips: steers(bar.step, role),
        count,
      });
    }
  }
  return threads;
}

/** Who did what to whom, without time: three columns. */
export interface MapNode {
  lane: Lane;
  x: number;
  y: number;
}
export interface MapEdge {
  from: string;
  to: string;
  phase: Phase;
  steps: Step[];
  path: string;
  midX: number;
  midY: number;
}

export const MAP_NODE = { width: 200, height: 38 };

export function mapOf(incident: Pick<Incident, 'affected'>, steps: Step[], width: number): { nodes: MapNode[]; edges: MapEdge[]; height: number } {
  const { lanes, of } = lanesOf(incident, steps);
  const columns: Lane[][] = [[], [], []];
  for (const lane of lanes) {
    const group = lane.group === 'more' ? lane.entity.slice(5) : lane.group;
    columns[group === 'outside' ? 0 : group === 'suspected' ? 1 : 2]?.push(lane);
  }
  const used = columns.filter((column) => column.length > 0);
  const gap = 52;
  const tallest = Math.max(...used.map((column) => column.length), 1);
  const height = tallest * gap + 12;
  const nodes: MapNode[] = [];
  used.forEach((column, index) => {
    const x = used.length === 1 ? (width - MAP_NODE.width) / 2 : (index * (width - MAP_NODE.width)) / (used.length - 1);
    const top = (height - column.length * gap) / 2 + (gap - MAP_NODE.height) / 2;
    column.forEach((lane, row) => nodes.push({ lane, x, y: top + row * gap }));
  });
  const place = new Map(nodes.map((node) => [node.lane.entity, node]));
  const edges = new Map<string, { from: MapNode; to: MapNode; steps: Step[]; phase: Phase; flips: boolean }>();
  for (const step of steps) {
    const actor = place.get(lanes[of.get(step.entity) ?? -1]?.entity ?? '');
    for (const peer of step.peers) {
      const other = place.get(lanes[of.get(peer.entity) ?? -1]?.entity ?? '');
      if (!actor || !other || actor === other) continue;
      // What is sent out goes to the one that takes it; what steers comes from it.
      const flips = steers(step, peer.role);
      const [from, to] = flips ? [other, actor] : [actor, other];
      const key = `${from.lane.entity}\n${to.lane.entity}`;
      const known = edges.get(key);
      if (!known) edges.set(key, { from, to, steps: [step], phase: step.phase, flips });
      else {
        if (!known.steps.includes(step)) known.steps.push(step);
        if (gravity(step.phase) > gravity(known.phase)) known.phase = step.phase;
      }
    }
  }
  return { nodes, height, edges: [...edges.values()].map((edge) => bend(edge)) };
}

function bend({ from, to, steps, phase }: { from: MapNode; to: MapNode; steps: Step[]; phase: Phase }): MapEdge {
  const w = MAP_NODE.width;
  const h = MAP_NODE.height / 2;
  const base = { from: from.lane.entity, to: to.lane.entity, phase, steps };
  if (from.x === to.x) {
    // In one column: a bow past the right edge.
    const [x, y1, y2] = [from.x + w, from.y + h, to.y + h];
    const out = x + 34 + Math.min(40, Math.abs(y2 - y1) / 6);
    return { ...base, path: `M${x} ${y1}C${out} ${y1} ${out} ${y2} ${x + 5} ${y2}`, midX: out - 12, midY: (y1 + y2) / 2 };
  }
  const isRight = to.x > from.x;
  const x1 = isRight ? from.x + w : from.x;
  const x2 = isRight ? to.x - 5 : to.x + w + 5;
  const bendX = (x2 - x1) * 0.45;
  const [y1, y2] = [from.y + h, to.y + h];
  return { ...base, path: `M${x1} ${y1}C${x1 + bendX} ${y1} ${x2 - bendX} ${y2} ${x2} ${y2}`, midX: (x1 + x2) / 2, midY: (y1 + y2) / 2 };
}
