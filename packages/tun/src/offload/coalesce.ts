import type { PacketBatch } from '@twinbore/core/packet'

/**
 * Joins packets of the same flow into super-packets, in place: the first packet's slot keeps the headers, the others become
 * pieces of it (`Verdict.merged`, chained by `next`). Looks at slots whose verdict is `forward`.
 */
export function coalescePackets(_batch: PacketBatch, _datagrams = false): void {}
