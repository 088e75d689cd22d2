import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { Env } from "../../worker/env.ts";
import worker from "../../worker/index.ts";
import { arrowType } from "../../wire/point-ipc.ts";

export type When = "before it is done" | "after it was done";

/** The stores, the n-th call of which fails: nothing happened, or it did and nobody knows. */
export function faulty(n: number, when: When) {
  const fault = { has: false };
  let left = n;
  const guarded =
    <A extends unknown[]>(call: (...args: A) => unknown) =>
    async (...args: A): Promise<unknown> => {
      const isIt = left-- === 0;
      fault.has ||= isIt;
      if (isIt && when === "before it is done") throw new Error("Network connection lost.");
      const result = await call(...args);
      if (isIt) throw new Error("Network connection lost.");
      return result;
    };
  /** An object whose methods of the given names are guarded, and whose others' results are wrapped. */
  const wrapped = <T extends object>(real: T, calls: string[], wraps: string[] = []): T =>
    new Proxy(real, {
      get(_, name: string) {
        if (name === "real") return real;
        const value = (real as Record<string, unknown>)[name];
        if (typeof value !== "function") return value;
        const method = (...args: unknown[]) => value.apply(real, args.map(unwrapped)) as object;
        if (wraps.includes(name))
          return (...args: unknown[]) => wrapped(method(...args), calls, wraps);
        return calls.includes(name) ? guarded(method) : method;
      },
    });
  const stores = {
    ...env,
    DB: wrapped(env.DB, ["batch", "run", "all", "first", "raw"], ["prepare", "bind"]),
    FILES: wrapped(env.FILES, ["get", "put", "head", "list", "delete"]),
  } as unknown as Env;
  return { stores, fault };
}

const unwrapped = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(unwrapped)
    : ((value as { real?: unknown } | undefined)?.real ?? value);

/** Asks the Worker over faulty stores, and waits for what it does after its answer. */
export async function askOver(
  stores: Env,
  method: string,
  path: string,
  body?: Uint8Array,
  headers = {},
) {
  const context = createExecutionContext();
  const request = new Request(`http://127.0.0.1/api/v1${path}`, {
    method,
    headers: { ...(body ? { "content-type": arrowType } : {}), ...headers },
    ...(body ? { body } : {}),
  });
  const response = await worker.fetch(request, stores, context);
  const bytes = await response.arrayBuffer().catch(() => undefined);
  await waitOnExecutionContext(context);
  return { status: response.status, bytes: bytes && new Uint8Array(bytes) };
}
