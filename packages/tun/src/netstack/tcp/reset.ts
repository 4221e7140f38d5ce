import { type PacketBatch, TcpFlag } from '@twinbore/core/packet'
import type { TcpSegment } from './segment.ts'
import { SegmentWriter } from './segment-writer.ts'

/**
 * Answers a segment of no connection with RST (RFC 9293 §3.5.2). Returns whether one was written: RST is never answered,
 * and a full batch takes nothing.
 */
export function writeResetFor(batch: PacketBatch, segment: TcpSegment): boolean {
  if (segment.has(TcpFlag.rst)) return false
  const local = { address: segment.destinationAddress(), port: segment.destinationPort }
  const remote = { address: segment.sourceAddress(), port: segment.sourcePort }
  const writer = new SegmentWriter(local, remote)
  const at = writer.begin(batch)
  if (at === -1) return false
  if (segment.has(TcpFlag.ack)) writer.finish(batch, TcpFlag.rst, segment.acknowledgmentNumber, 0, 0, at, 0)
  else {
    const acknowledged = (segment.sequenceNumber + segment.sequenceLength) >>> 0
    writer.finish(batch, TcpFlag.rst | TcpFlag.ack, 0, acknowledged, 0, at, 0)
  }
  return true
}
