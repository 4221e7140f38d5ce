/**
 * Deadlines of things that are numbered with small integers: a binary heap in typed arrays. Looking is O(1), everything
 * else O(log n), and setting a deadline that didn't change costs one comparison. 16 bytes for each key up to the largest.
 */
export class DeadlineQueue {
  /** Keys, the earliest first, each no later than its children at 2i + 1 and 2i + 2. */
  private heap: Int32Array = new Int32Array(64)
  /** Where each key is in the heap; -1 when it has no deadline. */
  private places: Int32Array = new Int32Array(64).fill(-1)
  private deadlines: Float64Array = new Float64Array(64)
  private count = 0

  /** The earliest deadline. */
  get deadline(): number | undefined {
    return this.count === 0 ? undefined : this.deadlines[this.heap[0]!]!
  }

  /** How many keys have a deadline. */
  get size(): number {
    return this.count
  }

  /** Gives a key a deadline in place of the one it had, or takes it away. */
  set(key: number, deadline: number | undefined): void {
    if (key >= this.places.length) this.grow(key + 1)
    const place = this.places[key]!
    if (deadline === undefined) {
      if (place !== -1) this.removeAt(place)
      return
    }
    if (place === -1) {
      this.deadlines[key] = deadline
      this.rise(this.count++, key)
      return
    }
    const before = this.deadlines[key]!
    if (deadline === before) return
    this.deadlines[key] = deadline
    if (deadline < before) this.rise(place, key)
    else this.sink(place, key)
  }

  /** Takes the earliest key whose deadline is reached out of the queue, or returns -1. */
  takeExpired(now: number): number {
    if (this.count === 0) return -1
    const key = this.heap[0]!
    if (this.deadlines[key]! > now) return -1
    this.removeAt(0)
    return key
  }

  private removeAt(place: number): void {
    this.places[this.heap[place]!] = -1
    const last = this.heap[--this.count]!
    if (place === this.count) return
    // The last key is of another branch, perhaps: it may have to go either way.
    this.rise(place, last)
    this.sink(this.places[last]!, last)
  }

  /** Puts a key where the hole is, or above. */
  private rise(hole: number, key: number): void {
    const deadline = this.deadlines[key]!
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      const other = this.heap[parent]!
      if (this.deadlines[other]! <= deadline) break
      this.put(other, hole)
      hole = parent
    }
    this.put(key, hole)
  }

  /** Puts a key where the hole is, or below. */
  private sink(hole: number, key: number): void {
    const deadline = this.deadlines[key]!
    for (;;) {
      let child = 2 * hole + 1
      if (child >= this.count) break
      if (child + 1 < this.count && this.deadlines[this.heap[child + 1]!]! < this.deadlines[this.heap[child]!]!) child++
      const other = this.heap[child]!
      if (this.deadlines[other]! >= deadline) break
      this.put(other, hole)
      hole = child
    }
    this.put(key, hole)
  }

  private put(key: number, place: number): void {
    this.heap[place] = key
    this.places[key] = place
  }

  private grow(needed: number): void {
    const capacity = Math.max(needed, this.places.length * 2)
    const { heap, places, deadlines } = this
    this.heap = new Int32Array(capacity)
    this.heap.set(heap)
    this.places = new Int32Array(capacity).fill(-1)
    this.places.set(places)
    this.deadlines = new Float64Array(capacity)
    this.deadlines.set(deadlines)
  }
}
