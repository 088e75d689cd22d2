/** Returns the value that a text is the JSON of, or else the text. */
export function maybeJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
