// One set for light and dark, each at least 3:1 on both backgrounds and apart for the colour-blind.
const hues = [
  "#2a69d7",
  "#c52f2a",
  "#899503",
  "#be4093",
  "#6b9694",
  "#8c6707",
  "#9285c8",
  "#646b58",
  "#a68971",
  "#776471",
];
const dashes = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

/** The colour of a run, by its number in the experiment: neighbours differ, and it never changes. */
export const colourOf = (number: number): string => hues[(number - 1) % hues.length]!;

/** The dash of a run's lines: after ten runs the colours come again, dashed. */
export const dashOf = (number: number): number[] =>
  dashes[Math.floor((number - 1) / hues.length) % dashes.length]!;
