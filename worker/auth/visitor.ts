import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { ApiError, shown } from "../../wire/error.ts";

/** What a visitor may do; each right includes the ones before it. */
const rights = ["reader", "writer", "admin"] as const;
export type Right = (typeof rights)[number];

/** Who is asking: their name in the audit log, and the most they may do. */
export interface Visitor {
  who: string;
  right: Right;
}

/** Whether a right includes another. */
export const includes = (right: Right, needed: Right): boolean =>
  rights.indexOf(right) >= rights.indexOf(needed);

/**
 * Returns who is asking. On loopback that is the owner; elsewhere the owner shows OWNER_TOKEN, as Bearer or as the
 * password of Basic. Credentials that a browser adds by itself count only for requests that our own pages make.
 */
export async function identify(
  request: Request,
  env: { OWNER_TOKEN?: string; LOOPBACK?: string },
): Promise<Visitor> {
  const owner: Visitor = { who: "owner", right: "admin" };
  if (env.LOOPBACK === "1") {
    checkHost(request);
    checkOrigin(request);
    return owner;
  }
  if (!env.OWNER_TOKEN) throw new ApiError("UNAUTHENTICATED", setUp);
  if (await isSigned(request, env.OWNER_TOKEN)) return { who: "owner", right: "writer" };
  const { scheme, token } = credentials(request.headers.get("authorization"));
  if (!token || !(await isSame(token, env.OWNER_TOKEN)))
    throw new ApiError("UNAUTHENTICATED", "missing or wrong token");
  if (scheme === "basic") checkOrigin(request);
  return owner;
}

/**
 * Returns what to add to a path so that one who shows nothing else may make just this request, for `seconds`. Where
 * nothing need be shown it is "".
 */
export async function signatureOf(
  method: string,
  path: string,
  env: { OWNER_TOKEN?: string },
  seconds = 6 * 3600,
): Promise<string> {
  if (!env.OWNER_TOKEN) return "";
  const until = Math.floor(Date.now() / 1000) + seconds;
  return `?until=${until}&signature=${await sign(env.OWNER_TOKEN, method, path, until)}`;
}

async function isSigned(request: Request, secret: string): Promise<boolean> {
  const { pathname, searchParams } = new URL(request.url);
  const [signature, until] = [searchParams.get("signature"), Number(searchParams.get("until"))];
  return (
    signature !== null &&
    until > Date.now() / 1000 &&
    isSame(signature, await sign(secret, request.method, pathname, until))
  );
}

/** HMAC-SHA-256 (RFC 2104), in hex. */
async function sign(secret: string, method: string, path: string, until: number): Promise<string> {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(secret), algorithm, false, ["sign"]);
  const said = bytes(`assay link\n${method}\n${path}\n${until}`);
  return Buffer.from(await crypto.subtle.sign(algorithm, key, said)).toString("hex");
}

/** What a deployment without an owner answers to everything. */
const setUp =
  "this deployment has no owner yet: set one with `npx wrangler secret put OWNER_TOKEN` (a long random text), then sign in with it as the password";

function credentials(header: string | null): { scheme?: "bearer" | "basic"; token?: string } {
  const [, scheme = "", value = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(header ?? "") ?? [];
  if (scheme.toLowerCase() === "bearer") return { scheme: "bearer", token: value };
  if (scheme.toLowerCase() !== "basic") return {};
  try {
    const pair = new TextDecoder().decode(Uint8Array.from(atob(value), (c) => c.charCodeAt(0)));
    return { scheme: "basic", token: pair.slice(pair.indexOf(":") + 1) };
  } catch {
    return {};
  }
}

async function isSame(a: string, b: string): Promise<boolean> {
  const hash = (text: string) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const [x, y] = await Promise.all([hash(a), hash(b)]);
  return timingSafeEqual(new Uint8Array(x), new Uint8Array(y));
}

/** A page elsewhere can make a browser resolve its own name to loopback, but then that name is what Host says. */
function checkHost(request: Request): void {
  const host = request.headers.get("host") ?? new URL(request.url).host;
  if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(host))
    throw new ApiError(
      "PERMISSION_DENIED",
      `host not allowed: ${shown(host)} (this server answers on loopback only)`,
    );
}

/** Requests by pages of other origins are refused, links to our pages are not. */
function checkOrigin(request: Request): void {
  const origin = request.headers.get("origin");
  const host = request.headers.get("host") ?? new URL(request.url).host;
  if (origin !== null && hostOf(origin) !== host)
    throw new ApiError("PERMISSION_DENIED", `origin not allowed: ${shown(origin)}`);
  const site = request.headers.get("sec-fetch-site");
  const isLink = request.headers.get("sec-fetch-mode") === "navigate" && request.method === "GET";
  if ((site === "cross-site" || site === "same-site") && !isLink)
    throw new ApiError("PERMISSION_DENIED", `request from another site not allowed: ${site}`);
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined; // "null" and worse
  }
}
