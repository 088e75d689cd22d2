/** Orders texts by Unicode code point, as UTF-8 and SQLite do; JavaScript's own order, by UTF-16, differs beyond U+FFFF. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return surrogatesLast(x) - surrogatesLast(y);
  }
  return a.length - b.length;
}

const surrogatesLast = (unit: number): number =>
  unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;

/** Returns a text with A–Z in lower case and nothing else changed, as SQLite's lower() does. */
export const lowerASCII = (text: string): string =>
  /[^\0-\x7f]/.test(text)
    ? text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
    : text.toLowerCase();

/** Returns whether texts match a pattern of LIKE: `%` is any text, `_` any one character, and nothing escapes them. */
export function likeTest(pattern: string): (text: string) => boolean {
  const parts = pattern.split("%").map((part) => ({ part, characters: [...part] }));
  if (parts.length === 1 && !pattern.includes("_")) return (text) => text === pattern;
  if (!pattern.includes("_")) {
    const [first, ...middle] = parts.map(({ part }) => part);
    const last = middle.pop()!;
    return (text) => {
      if (!text.startsWith(first!)) return false;
      let at = first!.length;
      for (const part of middle) {
        const found = text.indexOf(part, at);
        if (found < 0) return false;
        at = found + part.length;
      }
      return text.length - at >= last.length && text.endsWith(last);
    };
  }
  const [first, ...middle] = parts.map(({ characters }) => characters);
  const last = middle.pop();
  return (text) => {
    const characters = [...text];
    if (!standsAt(characters, first!, 0)) return false;
    let at = first!.length;
    if (!last) return at === characters.length;
    for (const part of middle) {
      while (at + part.length <= characters.length && !standsAt(characters, part, at)) at++;
      if (at + part.length > characters.length) return false;
      at += part.length;
    }
    const end = characters.length - last.length;
    return end >= at && standsAt(characters, last, end);
  };
}

const standsAt = (text: string[], part: string[], at: number): boolean =>
  at + part.length <= text.length && part.every((c, i) => c === "_" || c === text[at + i]);
