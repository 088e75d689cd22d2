// What the bindings of wrangler.toml and the Worker's exports are, to the tests that run beside it.
declare namespace Cloudflare {
  interface Env {
    DB: D1Database;
    FILES: R2Bucket;
    ASSETS: Fetcher;
    LOOPBACK: string;
  }
  interface GlobalProps {
    mainModule: typeof import("../../worker/index.ts");
  }
}

/** Vite puts files in here. */
interface ImportMeta {
  glob<T>(
    pattern: string,
    options: { query: string; import: string; eager: true },
  ): Record<string, T>;
}
