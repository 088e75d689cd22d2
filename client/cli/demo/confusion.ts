import { createPicture, drawText, fillRect, type Color, type Picture } from "./picture.ts";

const classes = 10;
const cell = 44;
const gap = 2;
const margin = { top: 62, right: 18, bottom: 18, left: 62 };

const paper: Color = [255, 255, 255];
const ink: Color = [27, 30, 36];
const faint: Color = [104, 112, 124];
const scale: Color[] = [
  [240, 244, 250],
  [197, 215, 243],
  [138, 174, 232],
  [74, 122, 214],
  [36, 79, 178],
  [18, 46, 115],
];

/** Counts how often each label, a row, was predicted as each class, a column. */
export function countConfusions(labels: Uint8Array, predicted: Uint8Array): Uint32Array {
  const counts = new Uint32Array(classes ** 2);
  labels.forEach((label, i) => counts[label * classes + predicted[i]!]!++);
  return counts;
}

/** Draws a confusion matrix: a row for each label, darker where more of that label went. */
export function drawConfusions(counts: Uint32Array): Picture {
  const size = classes * cell;
  const middle = (place: number) => place * cell + cell / 2;
  const picture = createPicture(
    margin.left + size + margin.right,
    margin.top + size + margin.bottom,
    paper,
  );
  drawText(picture, "predicted", { x: margin.left + size / 2, y: 20, color: faint });
  drawText(picture, "label", { x: 20, y: margin.top + size / 2, color: faint, upward: true });
  for (let i = 0; i < classes; i++) {
    drawText(picture, String(i), { x: margin.left + middle(i), y: margin.top - 16, color: ink });
    drawText(picture, String(i), { x: margin.left - 16, y: margin.top + middle(i), color: ink });
    const row = counts.subarray(i * classes, (i + 1) * classes);
    const total = row.reduce((a, b) => a + b);
    row.forEach((count, j) => {
      const x = margin.left + j * cell;
      const y = margin.top + i * cell;
      // The root keeps a mistake of one in a hundred visible beside a diagonal of nine in ten.
      const shade = Math.sqrt(count / (total || 1));
      fillRect(picture, { x, y, width: cell - gap, height: cell - gap, color: toColor(shade) });
      if (count)
        drawText(picture, String(count), {
          x: x + cell / 2 - gap / 2,
          y: y + cell / 2 - gap / 2,
          color: shade > 0.5 ? paper : ink,
        });
    });
  }
  return picture;
}

/** Returns the color of a share from 0 to 1, between two neighbours of the scale. */
function toColor(share: number): Color {
  const at = Math.min(share * (scale.length - 1), scale.length - 1 - 1e-9);
  const [low, high] = [scale[Math.floor(at)]!, scale[Math.floor(at) + 1]!];
  const mix = (k: 0 | 1 | 2) => Math.round(low[k] + (high[k] - low[k]) * (at % 1));
  return [mix(0), mix(1), mix(2)];
}
