import { type PacketBatch, TcpFlag } from '@twinbore/core/packet'
import type { ControlBlock } from './control-block.ts'
import type { Sender } from './sender.ts'
import { toSequenceNumber } from './sequence.ts'
import {
  MAX_SACK_BLOCKS,
  sackBytes,
  TIMESTAMPS_BYTES,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from './tcp-options.ts'

const maxOptionBytes = 40
const maxPacketBytes = 65_535
const edges = new Uint32Array(2 * MAX_SACK_BLOCKS)

/**
 * Writes what is to be sent into free slots of a batch, the most urgent first, data only up to `maxSegments`. Returns how
 * many segments that was; new data may share a slot as a super-packet (`TcpConfig.superPackets`), where each counts.
 */
export function emit(tcb: ControlBlock, batch: PacketBatch, now: number, maxSegments: number): number {
  const before = batch.count
  if (batch.slotBytes < tcb.localMtu) throw new RangeError('slots of the batch are smaller than the MTU')
  if (tcb.strayResetNumber !== -1 && !batch.full) emitStrayReset(tcb, batch)
  if (tcb.resetOwed && !batch.full) emitReset(tcb, batch)
  if (tcb.synOwed && !batch.full) emitSyn(tcb, batch, now)
  if (mayTransfer(tcb)) {
    emitData(tcb, batch, now, maxSegments - (batch.count - before))
    emitProbes(tcb, batch, now)
  }
  const { earlier } = tcb.acks
  if (earlier !== -1 && tcb.acks.due && tcb.state !== 'closed' && !batch.full) {
    tcb.acks.earlier = -1
    emitSegment(tcb, batch, tcb.sender.next, 0, false, now, earlier)
  }
  // A full batch keeps the acknowledgement for the next one.
  while (tcb.acks.due && tcb.state !== 'closed' && !batch.full) emitSegment(tcb, batch, tcb.sender.next, 0, false, now)
  let segments = 0
  for (let slot = before; slot < batch.count; slot++) segments += batch.segments[slot]!
  return segments
}

/** Whether `emit` would write something. */
export function wantsToSend(tcb: ControlBlock): boolean {
  if (tcb.strayResetNumber !== -1 || tcb.resetOwed || tcb.synOwed) return true
  if (tcb.acks.due && tcb.state !== 'closed') return true
  if (!mayTransfer(tcb)) return false
  const { sender } = tcb
  return (
    tcb.idleProbeOwed ||
    sender.persist.probeOwed ||
    sender.probe.owed ||
    sender.nextRetransmission() !== -1 ||
    sender.nextNewLength(sender.segmentBytes) !== -1
  )
}

/** States in which our half of the stream, or a part of it, is still to be carried over. */
function mayTransfer(tcb: ControlBlock): boolean {
  switch (tcb.state) {
    case 'established':
    case 'close-wait':
    case 'fin-wait-1':
    case 'fin-wait-2':
    case 'closing':
    case 'last-ack':
      return true
    default:
      return false
  }
}

function emitData(tcb: ControlBlock, batch: PacketBatch, now: number, most: number): void {
  const { sender } = tcb
  const { scoreboard, buffer } = sender
  let left = most
  while (!batch.full && left > 0) {
    let slot = sender.nextRetransmission()
    if (slot === -1) {
      const length = sender.nextNewLength(roomBesideReport(tcb))
      if (length !== -1) {
        left -= emitNew(tcb, batch, length, left, now)
        continue
      }
      // The probe of a tail has nothing new to send, so it sends the last segment again (RFC 8985 §7.3).
      if (!sender.probe.owed || scoreboard.isEmpty) break
      slot = scoreboard.last
    }
    const start = scoreboard.startOf(slot)
    const end = scoreboard.endOf(slot)
    emitSegment(tcb, batch, start, Math.min(end, buffer.end) - start, end > buffer.end, now)
    sender.noteResent(slot, now)
    left--
  }
  sender.settle(now)
}

/**
 * Sends new data: a segment of `length` bytes, and in one super-packet with it all that may follow, up to `most` segments.
 * To the sender each is a segment of its own. Returns how many.
 */
function emitNew(tcb: ControlBlock, batch: PacketBatch, length: number, most: number, now: number): number {
  const { sender } = tcb
  const { segmentBytes } = sender
  const start = sender.next
  sender.noteResumption(now)
  let segments = 1
  let total = length
  let fin = noteNew(sender, length, now)
  // What is reported is for one segment only.
  if (tcb.config.superPackets && length === segmentBytes && !tcb.receiver.ranges.hasReport) {
    const room = Math.min(maxPacketBytes, batch.slotBytes) - tcb.writer.headerBytes - maxOptionBytes
    let more = length
    while (more === segmentBytes && !fin && segments < most && total + segmentBytes <= room) {
      more = sender.nextNewLength(segmentBytes)
      if (more <= 0) break
      fin = noteNew(sender, more, now)
      total += more
      segments++
    }
  }
  emitSegment(tcb, batch, start, total, fin, now, tcb.receiver.next, segments)
  return segments
}

/** Notes a segment as sent, and returns whether FIN goes with it. */
function noteNew(sender: Sender, length: number, now: number): boolean {
  const fin = sender.finQueued && sender.next + length === sender.buffer.end
  sender.noteSent(length, fin, now)
  return fin
}

/** Probes of a closed window and of an idle peer are empty and begin before what is acknowledged, so an ACK must answer. */
function emitProbes(tcb: ControlBlock, batch: PacketBatch, now: number): void {
  const { persist } = tcb.sender
  if ((!persist.probeOwed && !tcb.idleProbeOwed) || batch.full) return
  persist.probeOwed = false
  tcb.idleProbeOwed = false
  emitSegment(tcb, batch, tcb.sender.unacknowledged - 1, 0, false, now)
}

/** How much data fits beside the SACK blocks that are to be reported (RFC 2018 §4). */
function roomBesideReport(tcb: ControlBlock): number {
  const { segmentBytes } = tcb.sender
  if (!tcb.selective || !tcb.receiver.ranges.hasReport || segmentBytes < 4 * maxOptionBytes) return segmentBytes
  return segmentBytes - sackBytes(maxBlocks(tcb))
}

function maxBlocks(tcb: ControlBlock): number {
  const room = maxOptionBytes - (tcb.timestamps.enabled ? TIMESTAMPS_BYTES : 0)
  return Math.min(MAX_SACK_BLOCKS, (room - 4) >> 3)
}

/**
 * A segment of an open connection, or so many in a super-packet: data from `position` on, FIN, or neither. It always
 * acknowledges, all that is there unless told.
 */
function emitSegment(
  tcb: ControlBlock,
  batch: PacketBatch,
  position: number,
  length: number,
  fin: boolean,
  now: number,
  acknowledged: number = tcb.receiver.next,
  segments = 1,
): void {
  const { writer, receiver, sender } = tcb
  let at = writer.begin(batch)
  if (segments > 1) {
    batch.segments[batch.count - 1] = segments
    batch.segmentBytes[batch.count - 1] = sender.segmentBytes
  }
  if (tcb.timestamps.enabled) at = writeTimestamps(batch.view, at, tcb.timestamps.value(now), tcb.timestamps.recent)
  if (tcb.selective && receiver.ranges.hasReport) {
    const room = length === 0 ? maxOptionBytes : sender.segmentBytes - length
    const fitting = Math.max(0, Math.min(maxBlocks(tcb), (room - 4) >> 3))
    const blocks = receiver.ranges.report(edges, fitting, tcb.peerInitial)
    if (blocks > 0) at = writeSack(batch.view, at, edges, blocks)
  }
  if (length > 0) sender.buffer.copyTo(position, batch.bytes, at, length)
  let flags: number = TcpFlag.ack
  if (fin) flags |= TcpFlag.fin
  // The last byte that was written: nothing is to be waited for (RFC 9293 §3.9.1.2).
  if (length > 0 && position + length === sender.buffer.end) flags |= TcpFlag.psh
  const acknowledgment = toSequenceNumber(acknowledged, tcb.peerInitial)
  const window = windowField(tcb, acknowledged)
  writer.finish(batch, flags, toSequenceNumber(position, tcb.initial), acknowledgment, window, at, length)
  tcb.lastAckSent = acknowledged
  if (acknowledged === receiver.next) tcb.acks.noteSent()
}

/** The right edge is the same whatever is acknowledged. */
function windowField(tcb: ControlBlock, acknowledged: number): number {
  const { receiver } = tcb
  const window = receiver.offerWindow(tcb.peerSegmentBytes) + receiver.next - acknowledged
  return Math.min(65_535, Math.floor(window / (1 << tcb.receiveScale)))
}

/** SYN, or SYN-ACK when the peer's SYN is known. Options are offered in a SYN, and in a SYN-ACK only those that were. */
function emitSyn(tcb: ControlBlock, batch: PacketBatch, now: number): void {
  const { config, writer } = tcb
  const answer = tcb.state === 'syn-received'
  let at = writeMss(batch.view, writer.begin(batch), tcb.announcedMss)
  if (answer ? tcb.selective : config.selectiveAcknowledgments) at = writeSackPermitted(batch.view, at)
  if (answer ? tcb.timestamps.enabled : config.timestamps)
    at = writeTimestamps(batch.view, at, tcb.timestamps.value(now), tcb.timestamps.recent)
  if (answer ? tcb.scaling : config.windowScaling) at = writeWindowScale(batch.view, at, config.windowScale)
  const window = Math.min(65_535, tcb.receiver.offerWindow(1))
  const flags = answer ? TcpFlag.syn | TcpFlag.ack : TcpFlag.syn
  const acknowledgment = answer ? toSequenceNumber(1, tcb.peerInitial) : 0
  writer.finish(batch, flags, tcb.initial, acknowledgment, window, at, 0)
  if (answer) tcb.lastAckSent = 1
  tcb.synOwed = false
  if (tcb.synSent++ === 0) tcb.synStartedAt = now
  tcb.synSentAt = now
  tcb.synAt = now + Math.min(config.maxRtoMs, config.initialRtoMs * 2 ** (tcb.synSent - 1))
}

/** The user gave the connection up, or never wanted it. */
function emitReset(tcb: ControlBlock, batch: PacketBatch): void {
  const { writer } = tcb
  const at = writer.begin(batch)
  const acknowledgment = toSequenceNumber(tcb.receiver.next, tcb.peerInitial)
  const number = tcb.synSent === 0 ? 0 : toSequenceNumber(tcb.sender.next, tcb.initial)
  writer.finish(batch, TcpFlag.rst | TcpFlag.ack, number, acknowledgment, 0, at, 0)
  tcb.resetOwed = false
}

function emitStrayReset(tcb: ControlBlock, batch: PacketBatch): void {
  tcb.writer.finish(batch, TcpFlag.rst, tcb.strayResetNumber, 0, 0, tcb.writer.begin(batch), 0)
  tcb.strayResetNumber = -1
}
