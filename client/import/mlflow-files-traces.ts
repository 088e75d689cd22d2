import type { FoundAssessment, FoundExperiment, FoundSpan, FoundTrace } from "./found.ts";
import { maybeJSON } from "./maybe-json.ts";
import { errorOf } from "./mlflow-json.ts";
import { numberOf, textOf, textsOf, type Meta } from "./mlflow-meta.ts";
import { spansFromJSON } from "./mlflow-spans.ts";
import type { MlflowStore } from "./mlflow-store.ts";
import { joined } from "./tree.ts";

/** Reads a trace; yields none where its folder says nothing. */
export async function* readTrace(
  store: MlflowStore,
  folder: string,
  { id: experiment }: FoundExperiment,
): AsyncGenerator<FoundTrace> {
  const meta = await store.meta("trace", folder, "trace_info.yaml");
  if (!meta) return;
  const spans = joined(folder, "artifacts/traces.json");
  yield {
    kind: "trace",
    id: textOf(meta, "trace_id") ?? textOf(meta, "request_id") ?? folder.split("/").at(-1)!,
    experiment,
    state: textOf(meta, "state") ?? textOf(meta, "status") ?? "",
    started:
      Date.parse(textOf(meta, "request_time") ?? "") || (numberOf(meta, "timestamp_ms") ?? 0),
    duration: numberOf(meta, "execution_duration_ms") ?? numberOf(meta, "execution_time_ms"),
    client: textOf(meta, "client_request_id"),
    requestPreview: textOf(meta, "request_preview"),
    responsePreview: textOf(meta, "response_preview"),
    tags: await store.texts(joined(folder, "tags")),
    metadata: await store.texts(joined(folder, "request_metadata")),
    spans: await spansIn(store, spans),
    assessments: await Array.fromAsync(assessmentsIn(store, joined(folder, "assessments"))),
  };
}

async function spansIn(store: MlflowStore, path: string): Promise<FoundSpan[]> {
  const folder = path.slice(0, path.lastIndexOf("/"));
  if ((await store.tree.list(folder)).every(({ name }) => !path.endsWith(`/${name}`))) return [];
  try {
    return spansFromJSON(await store.text(path));
  } catch (error) {
    store.skip({ what: "spans", name: path, why: (error as Error).message });
    return [];
  }
}

async function* assessmentsIn(store: MlflowStore, folder: string): AsyncGenerator<FoundAssessment> {
  for (const { name } of await store.tree.list(folder)) {
    const meta = await store.meta("assessment", folder, name);
    if (meta) yield assessmentOf(meta);
  }
}

function assessmentOf(meta: Meta): FoundAssessment {
  const kind = (["expectation", "issue"] as const).find((name) => name in meta) ?? "feedback";
  const held = (meta[kind] ?? {}) as Meta;
  const source = (meta["source"] ?? {}) as Meta;
  const serialized = (held["serialized_value"] ?? {}) as Meta;
  const text = textOf(serialized, "value") ?? held[kind === "issue" ? "issue_name" : "value"];
  return {
    id: textOf(meta, "assessment_id") ?? "",
    name: textOf(meta, "assessment_name") ?? "",
    kind,
    value: typeof text === "string" ? maybeJSON(text) : text,
    error: errorOf(held["error"] as Parameters<typeof errorOf>[0]),
    rationale: textOf(meta, "rationale"),
    metadata: textsOf(meta, "metadata"),
    span: textOf(meta, "span_id"),
    overrides: textOf(meta, "overrides"),
    valid: textOf(meta, "valid") !== "false",
    created: timeOf(meta, "create_time"),
    updated: timeOf(meta, "last_update_time"),
    sourceType: textOf(source, "source_type") ?? "",
    source: textOf(source, "source_id") ?? "",
  };
}

const timeOf = (meta: Meta, key: string): number | null =>
  Date.parse(textOf(meta, key) ?? "") || null;
