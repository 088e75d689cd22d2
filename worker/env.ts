import type { Visitor } from "./auth/visitor.ts";

/** What the platform gives the Worker; `wrangler.toml` names the same. */
export interface Env {
  DB: D1Database;
  FILES: R2Bucket;
  ASSETS: Fetcher;
  /** the secret that a deployed Worker asks its owner for */
  OWNER_TOKEN?: string;
  /** "1" where the Worker listens on loopback only: the visitor is the owner, and Host and Origin are checked instead */
  LOOPBACK?: string;
}

/** Where everything is kept. */
export type Stores = Pick<Env, "DB" | "FILES">;

/** What a request carries through the Worker. */
export interface App {
  Bindings: Env;
  Variables: { visitor: Visitor };
}

/** Until a deployment can have several, everything belongs to this one. */
export const workspace = "default";
