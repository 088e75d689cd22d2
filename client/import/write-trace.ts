import { shown } from "../../wire/error.ts";
import type { Json, Trace, TraceState, WholeTrace } from "../../wire/trace.ts";
import type { FoundAssessment, FoundTrace, OnSkip } from "./found.ts";
import { hashed } from "./ids.ts";
import { nameTag } from "./mlflow-tags.ts";
import { spanToOTLP } from "./otlp.ts";
import type { PatientApi } from "./patient.ts";
import type { ImportReport } from "./report.ts";
import { checkedText, checkedTexts, isTime } from "./write-experiment.ts";

/** So many characters of spans go in one request. */
const maxLot = 1_500_000;

/** Writes a trace with its spans and what is said of it: what is not here yet is added, what is here stays as it is. */
export async function writeTrace(
  api: PatientApi,
  found: FoundTrace,
  experiment: string,
  report: ImportReport,
): Promise<void> {
  const onSkip: OnSkip = (skip) => report.skipped.push(skip);
  const there = await api.maybe<Trace>(`/traces/${encodeURIComponent(found.id)}`);
  const body = await wholeTrace(found, experiment, onSkip);
  const [, digits] = /^(?:tr-)?([0-9a-f]{32})$/.exec(found.id) ?? [];
  const trace = digits ?? (await hashed(["trace", found.id]));
  const spans = await Promise.all(found.spans.map((span) => spanToOTLP(span, trace)));
  let lot: object[] = [];
  let size = 0;
  const send = async (): Promise<void> => {
    await api.json("POST", "/traces", { body: { ...body, spans: lot } });
    [lot, size] = [[], 0];
  };
  for (const span of spans) {
    const length = JSON.stringify(span).length;
    if (size && size + length > maxLot) await send();
    lot.push(span);
    size += length;
  }
  await send();
  if (!there) report.traces.added++;
}

async function wholeTrace(
  found: FoundTrace,
  experiment: string,
  onSkip: OnSkip,
): Promise<WholeTrace> {
  const owner = `trace ${found.id}`;
  const { [nameTag]: name = null, ...tags } = found.tags;
  const cut = (text: string | null, what: string, limit = 100_000): string | null =>
    text === null ? null : checkedText(text, limit, { what, owner, onSkip });
  if (!isTime(found.started))
    onSkip({ what: "time", name: owner, why: `no start: ${found.started}` });
  return {
    id: found.id,
    experiment,
    name: cut(name, "name", 4_096),
    state: stateOf(found.state),
    started: isTime(found.started) ? found.started : 0,
    duration: found.duration,
    request: cut(found.requestPreview, "request"),
    response: cut(found.responsePreview, "response"),
    client: cut(found.client, "client", 250),
    tags: checkedTexts(tags, "tag", owner, onSkip),
    metadata: checkedTexts(found.metadata, "metadata", owner, onSkip),
    assessments: await Promise.all(
      found.assessments.map(async (one, i) => ({
        ...(await wholeAssessment(one, owner, onSkip)),
        id: one.id || `a-${await hashed([found.id, i, one.name])}`,
      })),
    ),
  };
}

async function wholeAssessment(
  { source, sourceType, metadata, value, created, updated, ...said }: FoundAssessment,
  trace: string,
  onSkip: OnSkip,
) {
  const owner = `assessment ${shown(said.name)} of ${trace}`;
  const made = [created, updated].find(isTime) ?? 0;
  return {
    ...said,
    value: (value ?? null) as Json,
    source: { type: sourceType, id: source },
    metadata: checkedTexts(metadata, "metadata", owner, onSkip),
    created: made,
    updated: [updated, made].find(isTime) ?? 0,
  };
}

const states: Record<string, TraceState> = { OK: "ok", ERROR: "error", IN_PROGRESS: "running" };
const stateOf = (word: string): TraceState => states[word] ?? "unspecified";

/** Returns MLflow's word for the state of a trace. */
export const wordOfTraceState = (state: TraceState): string =>
  Object.keys(states).find((word) => states[word] === state) ?? "STATE_UNSPECIFIED";
