/** What a meta.yaml may hold: PyYAML reads each as it was. */
export type MetaField = string | number | null | MetaField[] | { [name: string]: MetaField };

/** Returns a mapping as YAML that PyYAML reads back as it is: text always in quotes, so that none is taken for more. */
export function metaToYAML(meta: Record<string, MetaField>): string {
  const lines = Object.entries(meta).map(([name, value]) => `${name}: ${flow(value)}\n`);
  return lines.join("");
}

/** Nested values stand in one line, as JSON does, which is YAML. */
function flow(value: MetaField): string {
  if (value === null || typeof value === "number") return String(value);
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  return `{${Object.entries(value)
    .map(([name, inner]) => `${quoted(name)}: ${flow(inner)}`)
    .join(", ")}}`;
}

/** PyYAML refuses characters that cannot be printed unless they are escaped, which JSON does not do with all of them. */
const quoted = (text: string): string =>
  JSON.stringify(text.toWellFormed()).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
