// Builds the playground; `npm run dev` serves it in front of an API.

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const api = process.env.COPILOT_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    // The page's policy allows no inline data but images'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1024,
  },
  server: { proxy: { '/api': api } },
});
