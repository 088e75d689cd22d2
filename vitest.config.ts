import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        // The Worker's own tests run inside workerd, on real D1 and R2.
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: { LOOPBACK: "1" },
              assets: { directory: "client/app", binding: "ASSETS" },
            },
          }),
        ],
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts"],
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "node",
          include: ["test/{wire,client,house}/**/*.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        // Tests of the whole: a started server, killed processes, Chromium. They share the machine, so one at a time, after all others.
        test: {
          name: "whole",
          sequence: { groupOrder: 1 },
          maxWorkers: 1,
          include: ["test/whole/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
