import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A server that takes what the W&B client sends, as far as it must be answered for `init` and `log` to work. */
export async function wandbServer(): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      const project = { id: "p", name: "bench", entity: { id: "e", name: "bench" } };
      const bucket = {
        id: "b",
        name: "run",
        displayName: "run",
        description: "",
        config: "{}",
        sweepName: null,
        historyLineCount: 0,
        project,
      };
      const answers = /Viewer|viewer/.test(body)
        ? {
            data: {
              viewer: {
                id: "v",
                entity: "bench",
                username: "bench",
                flags: "{}",
                teams: { edges: [] },
              },
            },
          }
        : { data: { upsertBucket: { bucket, inserted: true } } };
      response.end(JSON.stringify(request.url!.includes("graphql") ? answers : {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(),
  };
}
