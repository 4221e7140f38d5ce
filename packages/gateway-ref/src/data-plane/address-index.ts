/**
 * Inside address -> session, by open addressing over typed arrays (linear probing, deletion by shifting back), so that
 * the data path looks a packet's address up without building a key. IPv4 addresses are kept as their v4-mapped IPv6 form.
 *
 * Memory: 20 bytes a cell, load at most one half; grows by doubling.
 */
export class AddressIndex {
  private keys: Uint32Array
  private values: Int32Array
  private mask: number
  private used = 0

  constructor(capacity = 256) {
    let cells = 16
    while (cells < capacity * 2) cells *= 2
    this.keys = new Uint32Array(cells * 4)
    this.values = new Int32Array(cells).fill(-1)
    this.mask = cells - 1
  }

  get size(): number {
    return this.used
  }

  /** The session of the IPv4 address in the four bytes at `offset`, or -1. */
  findIpv4(view: DataView, offset: number): number {
    return this.find(0, 0, 0xffff, view.getUint32(offset))
  }

  /** The session of the IPv6 address in the sixteen bytes at `offset`, or -1. */
  findIpv6(view: DataView, offset: number): number {
    return this.find(
      view.getUint32(offset),
      view.getUint32(offset + 4),
      view.getUint32(offset + 8),
      view.getUint32(offset + 12),
    )
  }

  /** The session of an address (4 or 16 bytes), or -1. */
  get(address: Uint8Array): number {
    return this.find(...words(address))
  }

  /** Adds or replaces an address (4 or 16 bytes). `session` is not negative. */
  set(address: Uint8Array, session: number): void {
    if (this.used * 2 >= this.values.length) this.grow()
    const [a, b, c, d] = words(address)
    let cell = hash(a, b, c, d) & this.mask
    while (this.values[cell] !== -1 && !this.matches(cell, a, b, c, d)) cell = (cell + 1) & this.mask
    if (this.values[cell] === -1) this.used++
    this.keys.set([a, b, c, d], cell * 4)
    this.values[cell] = session
  }

  delete(address: Uint8Array): void {
    const [a, b, c, d] = words(address)
    let cell = hash(a, b, c, d) & this.mask
    while (!this.matches(cell, a, b, c, d)) {
      if (this.values[cell] === -1) return
      cell = (cell + 1) & this.mask
    }
    this.used--
    // Shift later cells of the cluster back, so that probing never meets a hole that was once filled.
    let hole = cell
    for (let next = (hole + 1) & this.mask; this.values[next] !== -1; next = (next + 1) & this.mask) {
      const k = next * 4
      const home = hash(this.keys[k]!, this.keys[k + 1]!, this.keys[k + 2]!, this.keys[k + 3]!) & this.mask
      if (((next - home) & this.mask) < ((next - hole) & this.mask)) continue
      this.keys.copyWithin(hole * 4, k, k + 4)
      this.values[hole] = this.values[next]!
      hole = next
    }
    this.values[hole] = -1
  }

  private find(a: number, b: number, c: number, d: number): number {
    let cell = hash(a, b, c, d) & this.mask
    for (;;) {
      const value = this.values[cell]!
      if (value === -1 || this.matches(cell, a, b, c, d)) return value
      cell = (cell + 1) & this.mask
    }
  }

  private matches(cell: number, a: number, b: number, c: number, d: number): boolean {
    const k = cell * 4
    return (
      this.values[cell] !== -1 &&
      this.keys[k + 3] === d &&
      this.keys[k + 2] === c &&
      this.keys[k + 1] === b &&
      this.keys[k] === a
    )
  }

  private grow(): void {
    const { keys, values } = this
    this.keys = new Uint32Array(keys.length * 2)
    this.values = new Int32Array(values.length * 2).fill(-1)
    this.mask = this.values.length - 1
    for (let from = 0; from < values.length; from++) {
      if (values[from] === -1) continue
      const k = from * 4
      let cell = hash(keys[k]!, keys[k + 1]!, keys[k + 2]!, keys[k + 3]!) & this.mask
      while (this.values[cell] !== -1) cell = (cell + 1) & this.mask
      this.keys.set(keys.subarray(k, k + 4), cell * 4)
      this.values[cell] = values[from]!
    }
  }
}

function words(address: Uint8Array): [number, number, number, number] {
  const view = new DataView(address.buffer, address.byteOffset, address.length)
  if (address.length === 4) return [0, 0, 0xffff, view.getUint32(0)]
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)]
}

function hash(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0x9e3779b1) ^ Math.imul(c, 0x85ebca77) ^ Math.imul(d, 0xc2b2ae3d), 0x27d4eb2f)
  h ^= h >>> 15
  return h
}
