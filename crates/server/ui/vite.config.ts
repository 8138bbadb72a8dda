import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The bundle is checked in and compared with what the sources build to, so nothing in it may depend
// on the machine. Nothing is inlined: the page runs under `default-src 'self'` without exceptions.
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    chunkSizeWarningLimit: 400,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: {
    proxy: { '/api': process.env.THYMUS_API ?? 'http://127.0.0.1:8099' },
  },
  test: { include: ['test/**/*.test.ts'] },
});
