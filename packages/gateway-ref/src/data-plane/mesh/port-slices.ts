import type { PortRange } from '@twinbore/pat'

/**
 * A range of ports, and of echo identifiers, in as many neighbouring slices as there are workers: the port of a packet that
 * comes back tells whose translator gave it out.
 */
export class PortSlices {
  private readonly range: PortRange
  private readonly size: number
  private readonly count: number

  /** @throws RangeError when there are fewer ports than slices */
  constructor(range: PortRange, count: number) {
    this.range = range
    this.count = count
    this.size = Math.floor((range.last - range.first + 1) / count)
    if (this.size < 1) throw new RangeError(`${count} workers can't share the ports ${range.first} to ${range.last}`)
  }

  /** The ports of one of them; the last one has what is left over. */
  sliceOf(worker: number): PortRange {
    const first = this.range.first + worker * this.size
    return { first, last: worker === this.count - 1 ? this.range.last : first + this.size - 1 }
  }

  /** Whose port it is, or -1. */
  workerOf(port: number): number {
    const { first, last } = this.range
    if (port < first || port > last) return -1
    return Math.min(this.count - 1, Math.floor((port - first) / this.size))
  }
}
