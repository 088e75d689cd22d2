/** 8-bit RGB pixels, row by row from the top left. */
export interface Picture {
  width: number;
  height: number;
  pixels: Uint8Array;
}

/** Red, green and blue from 0 to 255. */
export type Color = readonly [number, number, number];

/** The size of a letter in font pixels, and the room kept free to its right. */
const glyphWidth = 5;
const glyphHeight = 7;
const gap = 1;

/** Creates a picture of one color. */
export function createPicture(width: number, height: number, color: Color): Picture {
  const picture = { width, height, pixels: new Uint8Array(width * height * 3) };
  fillRect(picture, { x: 0, y: 0, width, height, color });
  return picture;
}

/** Fills a rectangle of a picture with a color. */
export function fillRect(
  picture: Picture,
  {
    x,
    y,
    width,
    height,
    color,
  }: { x: number; y: number; width: number; height: number; color: Color },
): void {
  for (let row = y; row < y + height; row++)
    for (let column = x; column < x + width; column++)
      picture.pixels.set(color, (row * picture.width + column) * 3);
}

/** Writes text centered on a point, in squares of scale pixels; upward turns it a quarter left. */
export function drawText(
  picture: Picture,
  text: string,
  {
    x,
    y,
    color,
    scale = 2,
    upward = false,
  }: { x: number; y: number; color: Color; scale?: number; upward?: boolean },
): void {
  const left = -Math.floor(((text.length * (glyphWidth + gap) - gap) * scale) / 2);
  const top = -Math.floor((glyphHeight * scale) / 2);
  for (const [place, letter] of [...text].entries()) {
    const glyph = glyphs[letter];
    if (!glyph) throw new Error(`letter is not in the font: ${letter}`);
    for (let row = 0; row < glyphHeight; row++)
      for (let column = 0; column < glyphWidth; column++) {
        if (glyph[row]![column] !== "#") continue;
        const along = left + (place * (glyphWidth + gap) + column) * scale;
        const across = top + row * scale;
        const corner = upward
          ? { x: x + across, y: y - along - scale }
          : { x: x + along, y: y + across };
        fillRect(picture, { ...corner, width: scale, height: scale, color });
      }
  }
}

/** The letters that the demo's pictures need. */
const glyphs: Record<string, string[]> = parseGlyphs(`
  0     1     2     3     4     5     6     7     8     9
  .###. ..#.. .###. ##### ...#. ##### ..##. ##### .###. .###.
  #...# .##.. #...# ...#. ..##. #.... .#... ....# #...# #...#
  #..## ..#.. ....# ..#.. .#.#. ####. #.... ...#. #...# #...#
  #.#.# ..#.. ...#. ...#. #..#. ....# ####. ..#.. .###. .####
  ##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
  #...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#.
  .###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .##..

  a     b     c     d     e     i     l     p     r     t
  ..... #.... ..... ....# ..... ..#.. .##.. ..... ..... .#...
  ..... #.... ..... ....# ..... ..... ..#.. ..... ..... .#...
  .###. #.##. .###. .##.# .###. .##.. ..#.. ####. #.##. ###..
  ....# ##..# #.... #..## #...# ..#.. ..#.. #...# ##..# .#...
  .#### #...# #.... #...# ##### ..#.. ..#.. ####. #.... .#...
  #...# #...# #...# #...# #.... ..#.. ..#.. #.... #.... .#..#
  .#### ####. .###. .#### .###. .###. .###. #.... #.... ..##.
`);

function parseGlyphs(sheet: string): Record<string, string[]> {
  const bands = sheet
    .trim()
    .split("\n\n")
    .map((band) => band.split("\n").map((row) => row.trim().split(/ +/)));
  return Object.fromEntries(
    bands.flatMap(([letters, ...rows]) =>
      letters!.map((letter, i) => [letter, rows.map((row) => row[i]!)]),
    ),
  );
}
