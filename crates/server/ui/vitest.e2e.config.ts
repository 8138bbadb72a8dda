import { defineConfig } from 'vitest/config';

// One story after the other: each starts a server and a browser of its own.
export default defineConfig({
  test: { include: [process.env['THYMUS_LOAD'] ? 'e2e/**/*.load.ts' : 'e2e/**/*.test.ts'], fileParallelism: false, testTimeout: 60_000, hookTimeout: 120_000, bail: 1 },
});
