import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import worker from "../../worker/index.ts";
import { freshStores } from "./worker.ts";

freshStores();

/** Asks a Worker on loopback, under port 8787, as a browser or a program would with these headers. */
async function arrive(headers: Record<string, string>, method = "GET", path = "/api/v1/health") {
  const request = new Request(`http://127.0.0.1:8787${path}`, { method, headers });
  const answer = await worker.fetch(request, env, createExecutionContext());
  return { status: answer.status, message: (await answer.json<any>()).message };
}

test.for(["127.0.0.1:8787", "localhost:8787", "LOCALHOST", "[::1]:8787"])(
  "on loopback, Host %s is the owner's own machine",
  async (host) => {
    expect((await arrive({ host })).status).toBe(200);
  },
);

test.for([
  "evil.example",
  "evil.example:8787",
  "localhost.evil.example",
  "127.0.0.1.nip.io",
  "0.0.0.0:8787",
  "evil@localhost",
  "127.0.0.1:8787.evil.example",
])("on loopback, Host %s is a name that was bent to it, and refused", async (host) => {
  expect(await arrive({ host })).toEqual({
    status: 403,
    message: `host not allowed: ${host} (this server answers on loopback only)`,
  });
});

test.for([
  "null",
  "https://evil.example",
  "http://127.0.0.1:3000",
  "http://localhost:8787",
  "garbage",
])("on loopback, a page of origin %s is refused, even to read", async (origin) => {
  for (const method of ["GET", "POST"])
    expect(
      await arrive(
        { host: "127.0.0.1:8787", origin },
        method,
        method === "GET" ? undefined : "/api/v1/runs",
      ),
    ).toEqual({
      status: 403,
      message: `origin not allowed: ${origin}`,
    });
});

test("on loopback, our own pages and programs without an Origin may ask", async () => {
  const host = "127.0.0.1:8787";
  expect(
    (await arrive({ host, origin: "http://127.0.0.1:8787", "sec-fetch-site": "same-origin" }))
      .status,
  ).toBe(200);
  expect(
    (await arrive({ host, "sec-fetch-site": "none", "sec-fetch-mode": "navigate" })).status,
  ).toBe(200);
  expect((await arrive({ host })).status).toBe(200);
});

test.for(["cross-site", "same-site"])(
  "on loopback, a %s request is refused unless somebody followed a link",
  async (site) => {
    const from = { host: "127.0.0.1:8787", "sec-fetch-site": site };
    expect(await arrive({ ...from, "sec-fetch-mode": "no-cors" })).toEqual({
      status: 403,
      message: `request from another site not allowed: ${site}`,
    });
    expect(
      (await arrive({ ...from, "sec-fetch-mode": "navigate" }, "POST", "/api/v1/runs")).status,
    ).toBe(403);
    expect((await arrive({ ...from, "sec-fetch-mode": "navigate" })).status).toBe(200);
  },
);
