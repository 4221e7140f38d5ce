import { type PacketBatch, Verdict } from '@twinbore/core/packet'

/** Datagrams in one train: UDP_MAX_SEGMENTS of the kernels before 6.9. */
export const MAX_SEGMENTS = 64

/**
 * Which slots leave in one piece with the slot `first`: those that are still `forward`, for the same owner and equally long;
 * one shorter than the others may be the last. An empty datagram travels alone, and a train has at most `MAX_SEGMENTS`
 * datagrams and `maxBytes` bytes. Returns the slot behind the last one.
 */
export function trainEnd(batch: PacketBatch, first: number, maxBytes: number): number {
  const { verdicts, owners, lengths, count } = batch
  const owner = owners[first]!
  const size = lengths[first]!
  let end = first + 1
  if (size === 0) return end
  let bytes = size
  let segments = 1
  for (let slot = end; slot < count && segments < MAX_SEGMENTS; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const length = lengths[slot]!
    if (owners[slot] !== owner || length > size || length === 0 || bytes + length > maxBytes) break
    bytes += length
    segments++
    end = slot + 1
    if (length < size) break
  }
  return end
}

/** For how many trains a refusal is believed: the path's MTU may be larger again, or the endpoint somebody else. */
const BELIEVED_TRAINS = 256
const MAX_REFUSALS = 1024

/**
 * Remembers to whom the system refused trains of large datagrams: larger than the path's MTU they would have to be
 * fragmented, and trains can't be. So the bytes of a train are not copied into the kernel in vain each time.
 */
export class TrainRefusals {
  private readonly refusals = new Map<number, { bytes: number; believed: number }>()

  /** The system refused a train with datagrams of so many bytes. */
  add(endpoint: number, bytes: number): void {
    if (this.refusals.size === MAX_REFUSALS) this.refusals.clear()
    this.refusals.set(endpoint, { bytes, believed: BELIEVED_TRAINS })
  }

  /** Whether a train with datagrams of so many bytes is expected to be refused. */
  expect(endpoint: number, bytes: number): boolean {
    if (this.refusals.size === 0) return false
    const refusal = this.refusals.get(endpoint)
    if (!refusal || bytes < refusal.bytes) return false
    if (refusal.believed-- > 0) return true
    this.refusals.delete(endpoint)
    return false
  }
}
