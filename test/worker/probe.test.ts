import { env, exports } from "cloudflare:workers";
import { test } from "vitest";
import worker, { app } from "../../worker/index.ts";
import { arrowType } from "../../wire/point-ipc.ts";
import { ask, freshStores, startRun } from "./worker.ts";
freshStores();
const say = (name: string, a: any) => console.log(name, a.status, (a.text ?? "").slice(0, 220));
test("probe", async () => {
  const run = await startRun();
  say("tags array", await ask("POST", "/runs", { experiment: "a", tags: ["x", "y"] }));
  say("params array", await ask("POST", "/runs", { experiment: "a", params: [1, 2] }));
  say("proto params", await ask("POST", "/runs", '{"experiment":"a","params":{"__proto__":1,"constructor":2,"toString":3},"tags":{"__proto__":"x","constructor":"y","toString":"z"}}'));
  say("frac started", await ask("POST", "/runs", { experiment: "a", started: 1.5 }));
  say("frac ended", await ask("POST", `/runs/${run}/finish`, { state: "finished", ended: 1.5 }));
  const id = "0192f0c1aaaa7bbb8cccddddeeee0009";
  await ask("POST", "/runs", { id, experiment: "one" });
  say("dup", await ask("POST", "/runs", { id, experiment: "two" }));
  say("two?", await ask("GET", "/experiments/two"));
  say("deep array", await ask("POST", `/runs/${id}/points`, "[".repeat(200000) + "]".repeat(200000)));
  say("deep params", await ask("POST", `/runs`, `{"experiment":"d","params":{"a":${"[".repeat(200000) + "]".repeat(200000)}}}`));
  say("deep params obj", await ask("POST", `/runs`, `{"experiment":"d","params":${'{"a":'.repeat(100000)}1${"}".repeat(100000)}}`));
  say("deep tags", await ask("POST", `/runs`, `{"experiment":"d","tags":{"a":${"[".repeat(200000) + "]".repeat(200000)}}}`));
  const cjk = Array.from({ length: 15 }, () => "字".repeat(100000));
  say("console cjk", await ask("POST", `/runs/${id}/console`, cjk));
  const big = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`p${i}`, "v".repeat(16000)]));
  say("big params", await ask("POST", "/runs", { experiment: "d", params: big }));
  for (let i = 0; i < 3; i++)
    say("keys" + i, await ask("POST", `/runs/${id}/points`, Array.from({ length: 10000 }, (_, k) => ({ key: `key/${i}/${k}`, step: 0, value: Math.random() }))));
  say("nul note", await ask("PATCH", `/runs/${id}`, { note: "a\u0000b" }).then((a) => ({ status: a.status, text: JSON.stringify(a.json?.note ?? a.text) })));
  say("lone param", await ask("PATCH", `/runs/${id}`, `{"params":{"x":"\\ud800"}}`).then((a) => ({ status: a.status, text: JSON.stringify(a.json?.params ?? a.text) })));
  for (const p of ["%ff", "a%2Fb", "%2e%2e/x", "..%2fx", "a%00b", "a%0ab", "a%5cb", "a//b", "/a", "", "a/.", "a/./b", "%ed%a0%80", "a%252fb", "%", "a b/ü"])
    say("file " + p, await ask("PUT", `/runs/${id}/files/${p}`, "abc"));
  say("files", await ask("GET", `/runs/${id}/files`).then((a) => ({ status: a.status, text: JSON.stringify(a.json.files.map((f: any) => f.path)) })));
  say("ctype", await ask("PUT", `/runs/${id}/files/t`, "abc", { "content-type": "text/plain; x=é字".replace("字", "") }));
  say("ctype get", await ask("GET", `/runs/${id}/files/t`));
  say("stream put", await ask("PUT", `/runs/${id}/files/s`, new Blob(["abc"]).stream()));
  const ctx: any = { waitUntil() {}, passThroughOnException() {} };
  const direct = async (r: Request) => { const a = await worker.fetch(r as any, env as any, ctx); return { status: a.status, text: await a.text() }; };
  say("no length", await direct(new Request(`http://127.0.0.1/api/v1/runs/${id}/files/s`, { method: "PUT", body: "abc" })));
  say("bad length", await direct(new Request(`http://127.0.0.1/api/v1/runs/${id}/files/s`, { method: "PUT", body: "abc", headers: { "content-length": "abc" } })));
  say("short length", await direct(new Request(`http://127.0.0.1/api/v1/runs/${id}/files/s`, { method: "PUT", body: "abc", headers: { "content-length": "2" } })));
  say("long length", await direct(new Request(`http://127.0.0.1/api/v1/runs/${id}/files/s`, { method: "PUT", body: "abc", headers: { "content-length": "5" } })));
  const patches = await Promise.all(Array.from({ length: 40 }, (_, i) => ask("PATCH", `/runs/${id}`, { tags: { ["t" + i]: "x" } })));
  console.log("patches", patches.map((p) => p.status).join());
  const patches2 = await Promise.all(Array.from({ length: 40 }, (_, i) => ask("PATCH", `/experiments/one`, { tags: { ["t" + i]: "x" } })));
  console.log("patches", patches2.map((p) => p.status).join());
  for (const b of ["[1]", '[{"text":1}]', '[{"text":"a","stream":"x"}]', '[{"text":"a","x":1}]', "{}", '"a"', "[null]"])
    say("console " + b, await ask("POST", `/runs/${id}/console`, b));
  for (const b of [{ tags: { a: {} } }, { tags: 3 }, { tags: { "": "x" } }, { params: { a: null } }, { params: { "": 1 } }, { name: null }, { note: 3 }, { state: "done" }, { parent: "x" }, { source: 1 }, { started: -1 }])
    say("run " + JSON.stringify(b), await ask("POST", `/runs`, { experiment: "q", ...b }));
  for (const b of ["null", "3", "[]", '"x"', "{"]) say("run " + b, await ask("POST", `/runs`, b));
  say("long exp", await ask("GET", `/experiments/${"x".repeat(100000)}`));
  const t0 = performance.now();
  say("order redos", await ask("GET", `/runs.json?order=${encodeURIComponent("a" + " ".repeat(30000) + "b")}`));
  console.log("order ms", performance.now() - t0);
  console.log(app.routes.map((r) => `${r.method} ${r.path}`).join("\n"));
}, 60000);
