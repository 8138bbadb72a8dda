// The real program on loopback, with a folder of its own.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROGRAM = process.env['THYMUS'] ?? '';
const FILL = process.env['THYMUS_FILL'] ?? '';

/** A port that nobody has now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

export class Server {
  readonly state = mkdtempSync(join(tmpdir(), 'thymus-ui-'));
  url = '';
  token = '';
  #child: ChildProcess | null = null;
  #port = 0;
  said = '';

  /** Writes frames into the journal, as an analysis would. */
  fill(frames: { kind: string; items: unknown }[]): void {
    const done = spawnSync(FILL, [join(this.state, 'journal')], { input: frames.map((frame) => JSON.stringify(frame)).join('\n'), encoding: 'utf8', maxBuffer: 1 << 28 });
    if (done.status !== 0) throw new Error(`fill_journal ended with ${done.status}: ${done.stderr}`);
  }

  async start(): Promise<void> {
    this.#port ||= await freePort();
    const child = spawn(PROGRAM, ['console', '--state', this.state, '--listen', `127.0.0.1:${this.#port}`], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const hear = (data: Buffer): void => {
      this.said += data.toString();
      this.token ||= /token[=: ]+([A-Za-z0-9_-]{12,})/i.exec(this.said)?.[1] ?? '';
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    this.url = `http://127.0.0.1:${this.#port}`;
    for (let tries = 0; tries < 200; tries += 1) {
      if (child.exitCode !== null) throw new Error(`the console ended with ${child.exitCode}: ${this.said}`);
      try {
        const answer = await fetch(`${this.url}/api/v1/setup`);
        if (answer.ok) return;
      } catch {
        // Not yet.
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the console does not answer: ${this.said}`);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.state, { recursive: true, force: true });
  }
}
