import { type PacketBatch, TcpFlag } from '@twinbore/core/packet'
import type { ControlBlock } from './control-block.ts'
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
const edges = new Uint32Array(2 * MAX_SACK_BLOCKS)

/**
 * Writes what is to be sent into free slots of a batch, the most urgent first, data only up to `maxSegments`. Returns how
 * many segments that was.
 */
export function emit(tcb: ControlBlock, batch: PacketBatch, now: number, maxSegments: number): number {
  const before = batch.count
  if (batch.slotBytes < tcb.localMtu) throw new RangeError('slots of the batch are smaller than the MTU')
  if (tcb.strayResetNumber !== -1 && !batch.full) emitStrayReset(tcb, batch)
  if (tcb.resetOwed && !batch.full) emitReset(tcb, batch)
  if (tcb.synOwed && !batch.full) emitSyn(tcb, batch, now)
  if (mayTransfer(tcb)) {
    emitData(tcb, batch, now, before + maxSegments)
    emitProbes(tcb, batch, now)
  }
  const { earlier } = tcb.acks
  if (earlier !== -1 && tcb.acks.due && tcb.state !== 'closed' && !batch.full) {
    tcb.acks.earlier = -1
    emitSegment(tcb, batch, tcb.sender.next, 0, false, now, earlier)
  }
  // A full batch keeps the acknowledgement for the next one.
  while (tcb.acks.due && tcb.state !== 'closed' && !batch.full) emitSegment(tcb, batch, tcb.sender.next, 0, false, now)
  return batch.count - before
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

function emitData(tcb: ControlBlock, batch: PacketBatch, now: number, until: number): void {
  const { sender } = tcb
  const { scoreboard, buffer } = sender
  while (!batch.full && batch.count < until) {
    let slot = sender.nextRetransmission()
    if (slot === -1) {
      const length = sender.nextNewLength(roomBesideReport(tcb))
      if (length !== -1) {
        const fin = sender.finQueued && sender.next + length === buffer.end
        sender.noteResumption(now)
        emitSegment(tcb, batch, sender.next, length, fin, now)
        sender.noteSent(length, fin, now)
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
  }
  sender.settle(now)
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

/** A segment of an open connection: data from `position` on, FIN, or neither. It always acknowledges, all that is there unless told. */
function emitSegment(
  tcb: ControlBlock,
  batch: PacketBatch,
  position: number,
  length: number,
  fin: boolean,
  now: number,
  acknowledged: number = tcb.receiver.next,
): void {
  const { writer, receiver, sender } = tcb
  let at = writer.begin(batch)
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
