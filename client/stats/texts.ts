interface Place {
  bytes: Uint8Array;
  from: number;
  to: number;
}

/**
 * Numbers texts in the order of their first appearance, told apart by their UTF-8 bytes: to decode each of them takes ten
 * times as long. An open-addressing hash table; the missing text has a number, too.
 */
export class Texts {
  /** where each text was first seen; null for the missing one */
  readonly #places: (Place | null)[] = [];
  readonly #hashes: number[] = [];
  /** the code in each slot of the hash table, −1 where it is free */
  #slots = new Int32Array(64).fill(-1);
  #missing = -1;
  #last = -1;

  get count(): number {
    return this.#places.length;
  }

  codeOfMissing(): number {
    return this.#missing < 0 ? (this.#missing = this.#add(null, -1)) : this.#missing;
  }

  codeOf(bytes: Uint8Array, from: number, to: number): number {
    if (this.#last >= 0 && isSame(this.#places[this.#last]!, bytes, from, to)) return this.#last;
    const hash = hashOf(bytes, from, to);
    let slot = hash & (this.#slots.length - 1);
    for (let code = this.#slots[slot]!; code >= 0; code = this.#slots[slot]!) {
      if (this.#hashes[code] === hash && isSame(this.#places[code]!, bytes, from, to))
        return (this.#last = code);
      slot = (slot + 1) & (this.#slots.length - 1);
    }
    this.#last = this.#slots[slot] = this.#add({ bytes, from, to }, hash);
    if (this.#places.length * 2 > this.#slots.length) this.#grow();
    return this.#last;
  }

  /** Returns the texts by code. */
  values(): (string | null)[] {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return this.#places.map(
      (place) => place && decoder.decode(place.bytes.subarray(place.from, place.to)),
    );
  }

  #add(place: Place | null, hash: number): number {
    this.#hashes.push(hash);
    return this.#places.push(place) - 1;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2).fill(-1);
    for (let code = 0; code < this.#hashes.length; code++) {
      if (code === this.#missing) continue;
      let slot = this.#hashes[code]! & (slots.length - 1);
      while (slots[slot]! >= 0) slot = (slot + 1) & (slots.length - 1);
      slots[slot] = code;
    }
    this.#slots = slots;
  }
}

/** FNV-1a, its high bits mixed in. http://www.isthe.com/chongo/tech/comp/fnv/ */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) & 0x7fffffff;
}

function isSame(place: Place, bytes: Uint8Array, from: number, to: number): boolean {
  if (place.to - place.from !== to - from) return false;
  for (let i = from, j = place.from; i < to; i++, j++)
    if (place.bytes[j] !== bytes[i]) return false;
  return true;
}
