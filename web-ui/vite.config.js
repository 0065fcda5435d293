// How the dashboard is built, and how `npm run dev` finds a proxy's admin port.

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const admin = process.env.ADMIN_URL ?? 'http://127.0.0.1:8099';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // The page's content security policy allows no `data:` address, so nothing may be inlined as one.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    host: '127.0.0.1',
    proxy: { '/admin': { target: admin, changeOrigin: false } },
  },
  test: { include: ['app/**/*.test.ts'], environment: 'node' },
});
