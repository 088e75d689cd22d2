import { seededRandom } from "../random.ts";
import { mostBins, type Feature } from "./feature.ts";

/** What a forest has learnt of its features. */
export interface ForestImportance {
  /** by feature: by how much the squared error of the prediction rises, in variances of the target, when its values are shuffled */
  importance: Float64Array;
  /** the share of the target's variance that the forest predicts in rows it has not seen; 0 or less is nothing */
  r2: number;
}

const width = mostBins + 1;
/** the least rows of a leaf */
const leaf = 3;

/**
 * Grows a forest of regression trees, each from rows drawn with replacement, each split the best of a random third of the
 * features, and shuffles one feature after the other among the rows a tree has not seen: Breiman, "Random forests",
 * Machine Learning 45 (2001), sections 10 and 11. Features are binned, as in Ke et al., "LightGBM", NeurIPS 2017.
 * Categories are ordered by their mean target within a node, which finds the best of all divisions (Fisher, "On grouping
 * for maximum homogeneity", JASA 53, 1958); missing numbers go to the side that they fit better (Chen and Guestrin,
 * "XGBoost", KDD 2016, 3.4).
 */
export function forestImportance(
  features: Feature[],
  target: Float64Array,
  { trees, seed }: { trees: number; seed: number },
): ForestImportance {
  const random = seededRandom(seed);
  const n = target.length;
  const rise = new Float64Array(features.length);
  const predicted = new Float64Array(n);
  const times = new Uint32Array(n);
  const tree = new Tree(features, target, random);
  for (let t = 0; t < trees; t++) {
    const unseen = tree.grow();
    const before = tree.predict(unseen);
    for (let i = 0; i < unseen.length; i++) {
      predicted[unseen[i]!]! += before[i]!;
      times[unseen[i]!]!++;
    }
    const error = squaredError(before, unseen, target);
    for (let f = 0; f < features.length; f++) {
      if (!tree.uses[f] || unseen.length < 2) continue;
      const after = tree.predict(unseen, f, shuffled(unseen, random));
      rise[f]! += (squaredError(after, unseen, target) - error) / unseen.length;
    }
  }
  const { variance, r2 } = fit(predicted, times, target);
  return { importance: rise.map((sum) => sum / trees / variance), r2 };
}

function squaredError(predicted: Float64Array, rows: Uint32Array, target: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < rows.length; i++) sum += (predicted[i]! - target[rows[i]!]!) ** 2;
  return sum;
}

function shuffled(rows: Uint32Array, random: () => number): Uint32Array {
  const order = rows.slice();
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const row = order[i]!;
    order[i] = order[j]!;
    order[j] = row;
  }
  return order;
}

/** The variance of the target, and the share of it that is predicted, over rows that some tree has not seen. */
function fit(predicted: Float64Array, times: Uint32Array, target: Float64Array) {
  const mean = target.reduce((sum, value) => sum + value, 0) / target.length;
  let [variance, error, spread] = [0, 0, 0];
  for (let i = 0; i < target.length; i++) {
    const square = (target[i]! - mean) ** 2;
    variance += square / target.length;
    if (times[i] === 0) continue;
    error += (target[i]! - predicted[i]! / times[i]!) ** 2;
    spread += square;
  }
  return { variance, r2: 1 - error / spread };
}

/** One tree at a time, grown anew in the same memory. */
class Tree {
  readonly #features: Feature[];
  readonly #target: Float64Array;
  readonly #random: () => number;
  /** which features the tree splits by */
  readonly uses: Uint8Array;
  /** the rows drawn, those of a node side by side */
  readonly #rows: Uint32Array;
  #nodes = 0;
  // By node: its feature (−1 for a leaf), its first child (the second follows), its mean, and which bins go to the first.
  readonly #feature: Int32Array;
  readonly #child: Uint32Array;
  readonly #mean: Float64Array;
  readonly #goesFirst: Uint8Array;
  readonly #order: Uint32Array;
  readonly #counts = new Float64Array(width);
  readonly #sums = new Float64Array(width);
  readonly #best = { gain: 0, feature: -1, goesFirst: new Uint8Array(width) };

  constructor(features: Feature[], target: Float64Array, random: () => number) {
    this.#features = features;
    this.#target = target;
    this.#random = random;
    this.uses = new Uint8Array(features.length);
    this.#rows = new Uint32Array(target.length);
    const most = 2 * Math.ceil(target.length / leaf) + 1;
    this.#feature = new Int32Array(most);
    this.#child = new Uint32Array(most);
    this.#mean = new Float64Array(most);
    this.#goesFirst = new Uint8Array(most * width);
    this.#order = Uint32Array.from(features, (_, f) => f);
  }

  /** Grows a new tree from rows drawn with replacement, and returns the rows that were not drawn. */
  grow(): Uint32Array {
    const n = this.#target.length;
    const seen = new Uint8Array(n);
    for (let i = 0; i < n; i++) {
      const row = Math.floor(this.#random() * n);
      this.#rows[i] = row;
      seen[row] = 1;
    }
    this.uses.fill(0);
    this.#nodes = 1;
    const open = [{ node: 0, from: 0, to: n }];
    for (let next = open.pop(); next; next = open.pop()) {
      const { node, from, to } = next;
      const middle = this.#split(node, from, to);
      if (middle === undefined) continue;
      const child = this.#child[node]!;
      open.push({ node: child, from, to: middle }, { node: child + 1, from: middle, to });
    }
    return Uint32Array.from({ length: n }, (_, i) => i).filter((row) => !seen[row]);
  }

  /** Divides a node's rows by the best of some features and returns where the second part begins; nothing for a leaf. */
  #split(node: number, from: number, to: number): number | undefined {
    let sum = 0;
    for (let i = from; i < to; i++) sum += this.#target[this.#rows[i]!]!;
    const total = to - from;
    this.#mean[node] = sum / total;
    this.#feature[node] = -1;
    if (total < 2 * leaf) return undefined;
    this.#choose(from, to, sum);
    const { feature, goesFirst } = this.#best;
    if (feature < 0) return undefined;
    const { bins } = this.#features[feature]!;
    const rows = this.#rows;
    let middle = from;
    for (let i = from; i < to; i++) {
      const row = rows[i]!;
      if (!goesFirst[bins[row]!]) continue;
      rows[i] = rows[middle]!;
      rows[middle++] = row;
    }
    this.#keep(node, feature, middle - from >= to - middle ? 1 : 0, from, to);
    this.uses[feature] = 1;
    this.#feature[node] = feature;
    this.#child[node] = this.#nodes;
    this.#nodes += 2;
    return middle;
  }

  /**
   * Keeps which bins go to the first child. Of those that no row of the node is in, the ones between its two parts are
   * divided in the middle; categories, and missing values, go to the greater part.
   */
  #keep(node: number, feature: number, greater: number, from: number, to: number): void {
    const { goesFirst } = this.#best;
    const { ordered, count } = this.#features[feature]!;
    this.#count(feature, from, to);
    const isEmpty = (bin: number) => this.#counts[bin] === 0;
    if (ordered) {
      const last = goesFirst.lastIndexOf(1, count - 1);
      let next = last + 1;
      while (next < count && isEmpty(next)) next++;
      goesFirst.fill(1, last, next < count ? ((last + next) >> 1) + 1 : count);
    }
    for (let bin = 0; bin < count; bin++)
      this.#goesFirst[node * width + bin] =
        isEmpty(bin) && !(ordered && bin > 0) ? greater : goesFirst[bin]!;
  }

  /** Finds the best split by a third of the features in random order, and by more of them while there is none. */
  #choose(from: number, to: number, sum: number): void {
    const best = this.#best;
    best.feature = -1;
    // A gain within rounding of none is none.
    best.gain = ((sum * sum) / (to - from)) * (1 + 1e-12);
    const count = this.#order.length;
    const some = Math.max(1, Math.ceil(count / 3));
    for (let i = 0; i < count && (i < some || best.feature < 0); i++) {
      const j = i + Math.floor(this.#random() * (count - i));
      const feature = this.#order[j]!;
      this.#order[j] = this.#order[i]!;
      this.#order[i] = feature;
      this.#count(feature, from, to);
      if (this.#features[feature]!.ordered) this.#tryOrdered(feature, to - from, sum);
      else this.#tryCategories(feature, to - from, sum);
    }
  }

  /** Counts and sums the target of a node's rows by bin. */
  #count(feature: number, from: number, to: number): void {
    const { bins, count } = this.#features[feature]!;
    const [rows, counts, sums, target] = [this.#rows, this.#counts, this.#sums, this.#target];
    counts.fill(0);
    sums.fill(0, 0, count);
    for (let i = from; i < to; i++) {
      const row = rows[i]!;
      const bin = bins[row]!;
      counts[bin]!++;
      sums[bin]! += target[row]!;
    }
  }

  #tryOrdered(feature: number, total: number, sum: number): void {
    const { count } = this.#features[feature]!;
    // Missing values with the second part, then with the first.
    for (const withFirst of this.#counts[0] ? [0, 1] : [0]) {
      let n = withFirst ? this.#counts[0]! : 0;
      let s = withFirst ? this.#sums[0]! : 0;
      for (let bin = 1; bin < count; bin++) {
        if (this.#counts[bin] === 0) continue;
        n += this.#counts[bin]!;
        s += this.#sums[bin]!;
        if (!this.#isBetter(feature, n, s, total, sum)) continue;
        this.#best.goesFirst.fill(0);
        this.#best.goesFirst.fill(1, 1, bin + 1);
        this.#best.goesFirst[0] = withFirst;
      }
    }
  }

  #tryCategories(feature: number, total: number, sum: number): void {
    const [counts, sums] = [this.#counts, this.#sums];
    const present: number[] = [];
    for (let bin = 0; bin < this.#features[feature]!.count; bin++)
      if (counts[bin]) present.push(bin);
    present.sort((a, b) => sums[a]! / counts[a]! - sums[b]! / counts[b]!);
    let [n, s] = [0, 0];
    for (let i = 0; i < present.length; i++) {
      n += counts[present[i]!]!;
      s += sums[present[i]!]!;
      if (!this.#isBetter(feature, n, s, total, sum)) continue;
      this.#best.goesFirst.fill(0);
      for (let k = 0; k <= i; k++) this.#best.goesFirst[present[k]!] = 1;
    }
  }

  /** Whether a first part of n rows and sum s divides a node better than what was found before; if so, keeps its gain. */
  #isBetter(feature: number, n: number, s: number, total: number, sum: number): boolean {
    if (n < leaf || total - n < leaf) return false;
    const gain = (s * s) / n + ((sum - s) * (sum - s)) / (total - n);
    if (gain <= this.#best.gain) return false;
    this.#best.gain = gain;
    this.#best.feature = feature;
    return true;
  }

  /** Predicts rows; the values of one feature may be those of other rows. */
  predict(rows: Uint32Array, foreign = -1, others: Uint32Array = rows): Float64Array {
    const [feature, child, goesFirst, mean] = [
      this.#feature,
      this.#child,
      this.#goesFirst,
      this.#mean,
    ];
    const predicted = new Float64Array(rows.length);
    for (let i = 0; i < rows.length; i++) {
      let node = 0;
      for (let f = feature[0]!; f >= 0; f = feature[node]!) {
        const bin = this.#features[f]!.bins[f === foreign ? others[i]! : rows[i]!]!;
        node = child[node]! + 1 - goesFirst[node * width + bin]!;
      }
      predicted[i] = mean[node]!;
    }
    return predicted;
  }
}
