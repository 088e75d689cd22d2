/** What a user typed wrong; printed without a stack, exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Returns the whole number that an option's text stands for. */
export function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text))
    throw new UsageError(`invalid --${name}: ${text} (expected a whole number)`);
  return Number(text);
}

/** Returns the name and the value that an option's text stands for. */
export function assignment(option: string, text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`invalid --${option}: ${text} (expected name=value)`);
  return [text.slice(0, at), text.slice(at + 1)];
}
