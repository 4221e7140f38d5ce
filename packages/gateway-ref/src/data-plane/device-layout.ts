import { type PacketBatchOptions, PacketMemory } from '@twinbore/core/packet'
import type { PacketDevice } from '@twinbore/tun'

/** Super-packets read at once: 2 MB of them stay in the processor's cache until they are cut. */
const SUPER_SLOTS = 32
/** Rounds slots up, so that every packet begins where a line of the cache does. */
const LINE_BYTES = 64

/**
 * The layout of a batch that a device is read into.
 *
 * @param batch - what the pipeline wants for single packets
 */
export function deviceLayout(device: PacketDevice, batch: PacketBatchOptions): PacketBatchOptions {
  const longest = Math.max(device.maxPacketBytes, device.mtu, batch.slotBytes ?? 2048)
  // Not a multiple of the page size either: then all packets would compete for the same lines.
  const slotBytes = Math.ceil(longest / LINE_BYTES) * LINE_BYTES + 2 * LINE_BYTES
  return device.superPackets ? { ...batch, slotBytes, capacity: SUPER_SLOTS } : { ...batch, slotBytes: longest }
}

/** More than all batches of a data plane take with packets of 9,000 bytes; what is never written to costs nothing. */
const MEMORY_BYTES = 32 * 2 ** 20

/**
 * What all batches of a data plane have in common: one memory, in which checksums cost little. A device of single packets makes
 * no checksum anew, and needs none.
 */
export function withMemory(device: PacketDevice, batch: PacketBatchOptions): PacketBatchOptions {
  return device.superPackets ? { ...batch, memory: PacketMemory.create(MEMORY_BYTES) } : batch
}
