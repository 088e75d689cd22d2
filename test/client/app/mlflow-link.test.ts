import { expect, test } from "vitest";
import { pathFromMlflow } from "../../../client/app/mlflow-link.ts";

const run = "01a21790afde7eb0ba61f4692c953641";

test.each([
  [`#/experiments/0/runs/${run}`, `/runs/${run}`],
  [`#/experiments/${run}/runs/${run}/artifacts/model`, `/runs/${run}`],
  [`#/experiments/${run}`, `/experiments/${run}`],
  ["#/experiments/0?searchFilter=x", "/experiments/0"],
  ["#/experiments", "/experiments"],
  ["#/", "/experiments"],
  ["#/models/clf", undefined],
  ["#/experiments/../runs/x", undefined],
  ["#chart", undefined],
  ["", undefined],
])("MLflow's link %s leads to %s", (hash, path) => {
  expect(pathFromMlflow(hash)).toBe(path);
});
