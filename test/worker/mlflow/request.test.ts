import { Hono } from "hono";
import { expect, test } from "vitest";
import { ApiError } from "../../../wire/error.ts";
import { mlflowError } from "../../../worker/mlflow/error.ts";
import {
  boolean,
  double,
  int64,
  list,
  map,
  message,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "../../../worker/mlflow/request.ts";

const fields = {
  run_id: required(string),
  step: int64,
  value: double,
  deep: boolean,
  view: orElse(word(["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]), "ACTIVE_ONLY"),
  tags: list(message({ key: required(string), value: string })),
  names: list(string),
  metadata: map(string),
};

const app = new Hono().all("/", async (c) => {
  const { metadata, value, ...read } = await readRequest(c, fields);
  return c.json({ ...read, value: String(value), metadata: [...metadata] });
});
app.onError((error) => {
  const { status, body } = mlflowError(error as ApiError);
  return new Response(JSON.stringify(body), { status });
});

async function post(body: unknown, type = "application/json") {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await app.request("/", {
    method: "POST",
    body: text,
    headers: { "content-type": type },
  });
  return response.json<any>();
}

test("fields are read in either case, whole numbers and doubles from text too, what is unknown is ignored", async () => {
  const asPython = { run_id: "r", step: 3, value: 1.5, deep: true, view: "ALL", zzz: 1 };
  const asJava = { runId: "r", step: "3", value: "1.5", deep: true, view: 3, names: null };
  const read = {
    run_id: "r",
    step: 3,
    value: "1.5",
    deep: true,
    view: "ALL",
    tags: [],
    names: [],
    metadata: [],
  };
  expect(await post(asPython)).toEqual(read);
  expect(await post(asJava)).toEqual(read);
  expect(await post(JSON.stringify(JSON.stringify(asPython)))).toEqual(read);
});

test("what is not set is undefined, a list is empty, a word nobody knows counts as not set", async () => {
  expect(await post({ run_id: "r", view: "BOGUS" })).toEqual({
    run_id: "r",
    value: "undefined",
    view: "ACTIVE_ONLY",
    tags: [],
    names: [],
    metadata: [],
  });
});

test.each([
  [`{"run_id": "r", "value": NaN}`, "NaN"],
  [`{"run_id": "r", "value": -Infinity}`, "-Infinity"],
  [`{"run_id": "r NaN", "value": "Infinity"}`, "Infinity"],
  [`{"run_id": "r", "value": "nan"}`, "NaN"],
])("%s holds %s, as Python writes it", async (body, value) => {
  expect((await post(body)).value).toBe(value);
});

test.each<[object | string, string]>([
  [{}, "Missing value for required parameter 'run_id'"],
  [[], "Missing value for required parameter 'run_id'"],
  [{ run_id: "" }, "Missing value for required parameter 'run_id'"],
  [
    { run_id: 5 },
    "Invalid value 5 for parameter 'run_id' supplied:  Hint: Value was of type 'int'.",
  ],
  [
    { run_id: "r", step: "x" },
    `Invalid value "x" for parameter 'step' supplied:  Hint: Value was of type 'str'.`,
  ],
  [
    { run_id: "r", step: "9223372036854775807" },
    `Invalid value "9223372036854775807" for parameter 'step' supplied. Whole numbers are kept up to 2^53`,
  ],
  [
    { run_id: "r", value: [1] },
    "Invalid value [1] for parameter 'value' supplied:  Hint: Value was of type 'list'.",
  ],
  [{ run_id: "r", tags: { key: "a" } }, "of type 'dict'"],
  [
    { run_id: "r", tags: [{ key: "a" }, { value: "b" }] },
    "Missing value for required parameter 'tags[1].key'",
  ],
  [{ run_id: "r", tags: ["a"] }, `Invalid value "a" for parameter 'tags[0]' supplied`],
  [{ run_id: "r", metadata: { a: 1 } }, "Invalid value 1 for parameter 'metadata[a]' supplied"],
  [`{"run_id": "\\ud800"}`, "not well-formed"],
  [`{`, "Malformed JSON"],
])("%j is refused: %s", async (body, message) => {
  expect((await post(body)).message).toContain(message);
});

test("a body that is not JSON by its type is refused, an empty one is the empty message", async () => {
  expect((await post({ run_id: "r" }, "text/plain")).message).toBe(
    "Bad Request. Content-Type must be one of ['application/json'].",
  );
  expect((await post("")).message).toContain("Missing value");
});

test("a query gives a field that is a list each of its values, and any other its first", async () => {
  const response = await app.request("/?run_id=a&run_id=b&names=x&names=y&deep=True&step=5");
  expect(await response.json()).toMatchObject({
    run_id: "a",
    names: ["x", "y"],
    deep: true,
    step: 5,
  });
});
