/** milliseconds each */
const units: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Returns the seconds that a text such as `90s`, `1h30m`, `250ms` or `2d` stands for; undefined where it stands for none. */
export function secondsFromText(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+$/i.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/([\d.]+)([a-z]+)/gi))
    ms += Number(count) * units[unit!.toLowerCase()]!;
  return ms / 1000;
}

/**
 * Returns the time, in ms since 1970, that a text stands for: a date, with or without the time of day and a zone (UTC
 * where it names none), or so long ago, as `-7d`. Undefined where it stands for none.
 */
export function timeFromText(text: string, now: number): number | undefined {
  if (text.startsWith("-")) {
    const seconds = secondsFromText(text.slice(1));
    return seconds === undefined ? undefined : Math.round(now - seconds * 1000);
  }
  const [, day, clock, zone = "Z"] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|[+-]\d\d:?\d\d)?)?$/i.exec(
      text,
    ) ?? [];
  if (day === undefined) return undefined;
  const midnight = Date.parse(day);
  // Date.parse takes February 30 for a day of March.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return undefined;
  if (clock === undefined) return midnight;
  const time = Date.parse(`${day}T${clock}${zone.replace(/(\d\d)(\d\d)$/, "$1:$2")}`);
  return Number.isNaN(time) ? undefined : time;
}
