import { expect, test } from "vitest";
import { connect } from "../../client/index.ts";

/** A lab whose server gives the answers one after the other, and what it was asked. */
async function answering(...answers: (Response | Error)[]) {
  const asked: { path: string; body: any }[] = [];
  const lab = await connect("http://lab.test", {
    fetch: async (url, init) => {
      const { pathname } = new URL(String(url));
      asked.push({ path: pathname, body: init?.body && JSON.parse(init.body as string) });
      const answer = answers.shift()!;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { lab, asked };
}

const busy = () =>
  Response.json({ error_code: "TEMPORARILY_UNAVAILABLE", message: "half way" }, { status: 503 });
const outcome = { changed: 2, unchanged: 0, undo: "u", expires: 1 };

test("a change of many runs is sent again under the same id until it is through", async () => {
  const { lab, asked } = await answering(
    busy(),
    new TypeError("fetch failed"),
    busy(),
    Response.json(outcome),
  );
  const runs = { experiment: "x", where: "params.lr > 1" };
  expect(await lab.changeRuns(runs, { group: "g" })).toEqual(outcome);
  expect(asked).toHaveLength(4);
  expect(asked[0]).toEqual({
    path: "/api/v1/runs/bulk",
    body: { id: expect.stringMatching(/^[0-9a-f]{32}$/), runs, change: { group: "g" } },
  });
  for (const again of asked) expect(again).toEqual(asked[0]);
});

test("what is refused is not sent again, and a dead server is told after three tries", async () => {
  const gone = { error_code: "INVALID_STATE", message: "undo has expired: u" };
  const refusing = await answering(Response.json(gone, { status: 410 }));
  await expect(refusing.lab.undoChange("u")).rejects.toMatchObject({
    code: "INVALID_STATE",
    status: 410,
  });
  expect(refusing.asked.map(({ path }) => path)).toEqual(["/api/v1/undo/u"]);
  const dead = await answering(...Array.from({ length: 9 }, () => new TypeError("fetch failed")));
  await expect(dead.lab.undoChange("u")).rejects.toThrow("fetch failed");
  expect(dead.asked).toHaveLength(3);
});
