import { request } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assay, cli, freePort, start, startServer, temporaryFolder } from "./server.ts";

/** Sends a request with headers that fetch would not let through. */
function ask(url: string, headers: Record<string, string>, method = "GET"): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) =>
      resolve(response.resume().statusCode!),
    );
    sent.on("error", reject).end();
  });
}

/** Whether a process runs; one that nobody has reaped yet does not. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

test("a server that is built already is ready within a second", async () => {
  const data = temporaryFolder();
  await (await startServer({ data })).stop();
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const began = performance.now();
    const server = await startServer({ data });
    expect((await fetch(`${server.url}/api/v1/health`)).status).toBe(200);
    times.push(performance.now() - began);
    await server.stop();
  }
  expect(times.sort((a, b) => a - b)[1]).toBeLessThan(1000);
});

test("SIGTERM and Ctrl-C end it cleanly: exit code 0, nothing left running, the folder free", async () => {
  const data = temporaryFolder();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const server = await startServer({ data });
    const { children } = JSON.parse(readFileSync(join(data, "lock"), "utf8"));
    server.child.kill(signal);
    expect(await server.ended).toBe(0);
    expect(existsSync(join(data, "lock"))).toBe(false);
    expect(children.filter(isRunning)).toEqual([]);
  }
});

test("SIGTERM the moment it says where it is ends it, too", async () => {
  for (let round = 0; round < 8; round++) {
    const server = start(process.execPath, [
      cli,
      "start",
      "--port=0",
      "--no-demo",
      `--data=${temporaryFolder()}`,
    ]);
    server.child.stdout!.once("data", () => server.child.kill("SIGTERM"));
    expect(await server.ended).toBe(0);
  }
});

test("in a new folder the first request that is answered is answered well: no port before the tables", async () => {
  const port = await freePort();
  const server = start(process.execPath, [
    cli,
    "start",
    `--port=${port}`,
    "--no-demo",
    `--data=${temporaryFolder()}`,
  ]);
  const post = () =>
    fetch(`http://127.0.0.1:${port}/api/v1/runs`, { method: "POST", body: '{"experiment":"a"}' });
  let status: number | undefined;
  while (status === undefined && server.child.exitCode === null)
    status = await post().then(
      (response) => response.status,
      () => undefined,
    );
  expect(status).toBe(201);
  server.child.kill("SIGTERM");
  await server.ended;
});

test("what was accepted is there after a restart", async () => {
  const data = temporaryFolder();
  const first = await startServer({ data });
  const run = await (
    await fetch(`${first.url}/api/v1/runs`, {
      method: "POST",
      body: JSON.stringify({ experiment: "kept" }),
    })
  ).json();
  await fetch(`${first.url}/api/v1/runs/${run.id}/points`, {
    method: "POST",
    body: JSON.stringify([{ key: "loss", step: 1, value: 0.5 }]),
  });
  await first.stop();
  const second = await startServer({ data });
  expect(await (await fetch(`${second.url}/api/v1/points.csv?experiment=kept`)).text()).toMatch(
    /loss,1\.0,.*,0\.5/,
  );
  await second.stop();
});

test("a second server on the same folder says who holds it", async () => {
  const server = await startServer();
  const second = await assay(["start", "--port", "0", "--data", server.data]);
  expect(second.code).toBe(1);
  expect(second.err).toContain(
    `data folder ${server.data} is held by process ${server.child.pid} at ${server.url}`,
  );
  await server.stop();
});

test("a taken port is named", async () => {
  const server = await startServer();
  const { port } = new URL(server.url);
  const second = await assay(["start", "--port", port, "--data", temporaryFolder(), "--no-demo"]);
  expect(second).toMatchObject({ code: 1, err: expect.stringContaining(`port ${port} is in use`) });
  await server.stop();
});

test("after SIGKILL the next start clears what was left, workerd included, and loses nothing acknowledged", async () => {
  const data = temporaryFolder();
  const first = await startServer({ data });
  const run = await (
    await fetch(`${first.url}/api/v1/runs`, {
      method: "POST",
      body: JSON.stringify({ experiment: "killed" }),
    })
  ).json();
  const orphans: number[] = JSON.parse(readFileSync(join(data, "lock"), "utf8")).children;
  expect(orphans.length).toBeGreaterThan(0);
  first.child.kill("SIGKILL");
  await first.ended;
  const second = await startServer({ data, args: ["--no-demo"] });
  expect(orphans.filter(isRunning)).toEqual([]);
  expect((await fetch(`${second.url}/api/v1/runs/${run.id}`)).status).toBe(200);
  await second.stop();
});

test("only loopback names are answered, and only our own pages may ask", async () => {
  const server = await startServer();
  const { host, port } = new URL(server.url);
  const runs = `${server.url}/api/v1/runs.json`;
  expect(await ask(runs, { host: `localhost:${port}` })).toBe(200);
  expect(await ask(runs, { host: `evil.example:${port}` })).toBe(403);
  expect(await ask(server.url, { host: "evil.example" })).toBe(403);
  expect(await ask(runs, { host, origin: server.url })).toBe(200);
  for (const origin of ["http://evil.example", `http://127.0.0.1:${Number(port) + 1}`, "null"])
    expect(await ask(runs, { host, origin })).toBe(403);
  expect(
    await ask(runs, { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }),
  ).toBe(403);
  expect(
    await ask(server.url, { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }),
  ).toBe(200);
  expect(await ask(`${server.url}/cdn-cgi/local/explorer/api`, { host })).not.toBe(500);
  await server.stop();
});

test("pages come with a policy that lets nothing foreign run, and unknown API paths are errors, not pages", async () => {
  const server = await startServer();
  const page = await fetch(`${server.url}/experiments/anything`);
  expect(page.headers.get("content-type")).toContain("text/html");
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  const asset = /\/assets\/app-\w+\.js/.exec(await page.text())![0];
  expect((await fetch(server.url + asset)).headers.get("cache-control")).toContain("immutable");
  expect((await fetch(`${server.url}/api/v1/nothing`)).status).toBe(404);
  await server.stop();
});

test("a wrong command line exits with 2 and says what is wrong", async () => {
  expect(await assay(["start", "--port", "x"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("invalid --port: x"),
  });
  expect(await assay(["start", "--colour"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("--colour"),
  });
  expect(await assay(["strat"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("unknown command: strat"),
  });
});

test("under an older Node the command finds the newer one beside it", async () => {
  const old = start("node", [cli, "--version"], {
    env: {
      PATH: process.env["PATH"]!.split(":")
        .filter((folder) => !folder.includes("node_modules"))
        .join(":"),
    },
  });
  expect(await old.ended).toBe(0);
  expect(old.out()).toMatch(/^\d+\.\d+\.\d+/);
});
