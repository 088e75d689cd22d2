import { emptyPoints, type Points } from "../../wire/point.ts";

/** Returns the same numbers from 0 to 1 for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

type Series = (step: number) => number;

/**
 * The points of a training run as they are logged, step by step: of 50 keys half are noisy float32 losses and norms, 10
 * running means in full float64, the rest schedules, counters, gauges of few decimals, one with 2 % NaN and ±Infinity
 * and a constant. Losses decay by a power law under AR(1) noise of 2–12 %; all keys of a step share one jittered time.
 */
export function trainingRun({
  seed,
  keys,
  steps,
}: {
  seed: number;
  keys: number;
  steps: number;
}): Points {
  const random = randomFrom(seed);
  const names = Array.from(
    { length: keys },
    (_, k) => `${folders[k % folders.length]}/metric_${k}`,
  );
  const series = names.map((_, k) => seriesOf(k % 50, random));
  const points = emptyPoints(names, keys * steps);
  let time = 1_795_432_172_440 + Math.floor(random() * 1e9);
  for (let step = 0, i = 0; step < steps; step++) {
    time += Math.round(
      250 * (1 + 0.05 * (random() - 0.5)) + (random() < 0.01 ? 4000 * random() : 0),
    );
    for (let k = 0; k < keys; k++, i++) {
      points.key[i] = k;
      points.step[i] = step;
      points.time[i] = time;
      points.value[i] = series[k]!(step);
    }
  }
  return points;
}

const folders = ["train", "val", "grad", "system", "optimizer"];

function seriesOf(kind: number, random: () => number): Series {
  const noisy = noisyLoss(random);
  if (kind < 25) return (step) => Math.fround(noisy(step));
  if (kind < 35) {
    let mean = NaN;
    return (step) => (mean = Number.isNaN(mean) ? noisy(step) : 0.98 * mean + 0.02 * noisy(step));
  }
  if (kind === 35) return (step) => 1e-3 * 0.5 ** Math.floor(step / 200);
  if (kind === 36) return (step) => 1e-3 * Math.min(1, (step + 1) / 50);
  if (kind === 37) return (step) => 5e-4 * (1 + Math.cos((Math.PI * step) / 2000));
  if (kind < 43) return (step) => step * (kind - 37) * 128;
  if (kind < 48) {
    const scale = 10 ** (kind % 4);
    return () => Math.round((40 + 20 * random()) * scale) / scale;
  }
  if (kind === 48)
    return (step) =>
      random() < 0.02 ? [NaN, Infinity, -Infinity][step % 3]! : Math.fround(noisy(step));
  return () => 1;
}

function noisyLoss(random: () => number): Series {
  const [scale, decay, noise] = [0.5 + 4 * random(), 0.2 + 0.3 * random(), 0.02 + 0.1 * random()];
  let drift = 0;
  return (step) => {
    drift = 0.8 * drift + noise * (random() + random() + random() - 1.5);
    return scale * (step + 1) ** -decay * (1 + drift);
  };
}
