/** How the dashboard is built: the same sources give the same files, on any machine. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "/dashboard/",
  // The browser's own errors are clear enough; a source map would be as large as everything else.
  build: {
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    // `npm run dev` shows the pages as they are edited; the API is a platform's, such as `skep serve` on this machine.
    proxy: Object.fromEntries(
      ["/client/v4", "/skep/v1"].map((path) => [
        path,
        { target: process.env["SKEP_URL"] ?? "http://localhost:8787", ws: true },
      ]),
    ),
  },
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
});
