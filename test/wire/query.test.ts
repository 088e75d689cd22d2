import { expect, test } from "vitest";
import { parseOrder, parseWhere } from "../../wire/query.ts";
import type { Run } from "../../wire/run.ts";

const summary = (last: number) => ({
  last,
  step: 1,
  time: 0,
  min: -1,
  minStep: 0,
  max: 2,
  maxStep: 0,
  sum: last,
  count: 1,
  nan: 0,
});
const run = {
  id: "1",
  name: "swift-otter",
  state: "finished",
  params: { lr: 0.1, opt: "sgd", "a.b": 3, on: true },
  tags: { team: "a" },
  metrics: { "val/acc": summary(0.9), bad: summary(NaN) },
  started: 5,
} as unknown as Run;

test.for([
  ["params.lr = 0.1", true],
  ["params.lr < 1e-1", false],
  ["params.opt = 'sgd' AND params.lr <= .1", true],
  ["params.a.b = 3", true],
  ["params.on = true", true],
  ['params."opt" != "adam"', true],
  ["params.`opt` = 'sgd'", true],
  ["metrics.val/acc > 0.8 and metrics.val/acc.min < 0", true],
  ["state='finished'", true],
  ["tags.team != 'a'", false],
  ["params.missing != 3", false],
  ["metrics.bad < 1", false],
  ["metrics.bad != 1", true],
  ["", true],
] as const)("%s is %s", ([where, expected]) => {
  expect(parseWhere(where)(run)).toBe(expected);
});

test.for([
  ["params.lr =", 'invalid where: expected a value after "=" at 11'],
  ["params.lr 3", "invalid where: expected one of = != < <= > >=, found 3 at 10"],
  ["= 3", "invalid where: expected a field, found = at 0"],
  ["colour = 3", "invalid where: unknown field colour at 0"],
  ["state = finished", "invalid where: expected a number or a quoted text at 8, found finished"],
  ["state = 'a' or state = 'b'", "invalid where: expected AND, found or at 12"],
  ["(state = 'a')", "invalid where: unexpected ( at 0"],
] as const)("%s is refused: %s", ([where, message]) => {
  expect(() => parseWhere(where)).toThrow(message);
});

test("runs are ordered by several fields, missing values and NaN last either way", () => {
  const runs = [3, NaN, undefined, 1, 3].map((loss, number) => ({
    ...run,
    number,
    metrics: loss === undefined ? {} : { loss: summary(loss) },
  })) as Run[];
  const order = (text: string) => runs.toSorted(parseOrder(text)).map(({ number }) => number);
  expect(order("metrics.loss, number desc")).toEqual([3, 4, 0, 2, 1]);
  expect(order("metrics.loss desc, number")).toEqual([0, 4, 3, 1, 2]);
  expect(() => parseOrder("colour desc")).toThrow("invalid order: unknown field colour");
});
