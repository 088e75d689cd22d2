import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pointsFromIPC } from "../../wire/point-ipc.ts";

/** What a server of the tests does with the next request it gets. */
export type Fault = "lose request" | "lose answer" | "busy" | "unauthorised" | "refuse";

const answers: Partial<Record<Fault, [number, string, Record<string, string>?]>> = {
  busy: [503, "TEMPORARILY_UNAVAILABLE", { "retry-after": "1" }],
  unauthorised: [401, "UNAUTHENTICATED"],
  refuse: [409, "INVALID_STATE"],
};

/** A small server that keeps points as the Worker does, once by writer and seq, and can be told to fail. */
export async function testServer() {
  const points: string[] = [];
  const lines: string[] = [];
  const files = new Map<string, string>();
  const accepted = new Map<string, string>();
  const faults: (Fault | undefined)[] = [];
  const requests: string[] = [];
  let state: { state: string; error?: string } | undefined;

  function accept(name: string, path: string, body: Buffer): void {
    if (name.endsWith("/points")) {
      const { keys, key, step, value } = pointsFromIPC(new Uint8Array(body));
      for (let i = 0; i < step.length; i++) points.push(`${keys[key[i]!]} ${step[i]} ${value[i]}`);
    } else if (name.endsWith("/console"))
      lines.push(...JSON.parse(body.toString()).map(({ text }: { text: string }) => text));
    else if (name.startsWith("PUT"))
      files.set(decodeURIComponent(path.split("/files/")[1]!), body.toString());
    else if (name.endsWith("/finish")) state = JSON.parse(body.toString());
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const fault = faults.shift();
      const { pathname, search } = new URL(request.url!, "http://x");
      const name = `${request.method} ${pathname.replace(/[0-9a-f]{32}/, ":run")}`;
      requests.push(name);
      const answer = (status: number, body: object, headers = {}) =>
        response
          .writeHead(status, { "content-type": "application/json", ...headers })
          .end(JSON.stringify(body));
      if (fault === "lose request") return void response.destroy();
      const [status, error_code, headers] = (fault && answers[fault]) ?? [];
      if (status) return void answer(status, { error_code, message: `told to: ${fault}` }, headers);
      const body = Buffer.concat(chunks);
      const once = search && `${pathname} ${search}`;
      const before = accepted.get(once);
      if (once && before !== undefined && before !== body.toString("hex"))
        return void answer(409, {
          error_code: "RESOURCE_ALREADY_EXISTS",
          message: "seq was used for other content",
        });
      if (!once || before === undefined) accept(name, pathname, body);
      if (once) accepted.set(once, body.toString("hex"));
      if (fault === "lose answer") return void response.destroy();
      answer(200, {});
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    points,
    lines,
    files,
    faults,
    requests,
    state: () => state,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
