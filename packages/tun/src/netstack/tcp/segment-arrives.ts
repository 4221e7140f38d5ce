import { TcpFlag } from '@twinbore/core/packet'
import type { ControlBlock } from './control-block.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import type { TcpSegment } from './segment.ts'

// What a segment does to a connection, in the order of RFC 9293 §3.10.7, with the checks of RFC 5961 and RFC 7323 §5.

export function segmentArrives(tcb: ControlBlock, segment: TcpSegment, now: number): void {
  switch (tcb.state) {
    case 'closed':
      return
    case 'dialling':
      arrivesWhileDialling(tcb, segment)
      return
    case 'syn-sent':
      arrivesInSynSent(tcb, segment, now)
      return
    default:
      arrivesSynchronized(tcb, segment, now)
  }
}

/**
 * Nothing was promised yet, so nothing is answered: a repeated SYN waits like the first one. RST withdraws it, another
 * SYN takes its place.
 */
function arrivesWhileDialling(tcb: ControlBlock, segment: TcpSegment): void {
  const position = tcb.peerPosition(segment.sequenceNumber)
  const withdrawn = segment.has(TcpFlag.rst) && (position === 0 || position === 1)
  const replaced = !segment.has(TcpFlag.rst) && isBareSyn(segment) && position !== 0
  if (withdrawn || replaced) fail(tcb, 'reset')
}

/** RFC 9293 §3.10.7.3. */
function arrivesInSynSent(tcb: ControlBlock, segment: TcpSegment, now: number): void {
  const hasAck = segment.has(TcpFlag.ack)
  if (hasAck && (tcb.synSent === 0 || tcb.position(segment.acknowledgmentNumber) !== 1)) {
    if (!segment.has(TcpFlag.rst)) tcb.strayResetNumber = segment.acknowledgmentNumber
    return
  }
  if (segment.has(TcpFlag.rst)) {
    if (hasAck) fail(tcb, 'refused')
    return
  }
  if (!segment.has(TcpFlag.syn)) return
  tcb.heardAt = now
  tcb.negotiate(segment.options, segment.sequenceNumber, now)
  // The window of a SYN is never scaled (RFC 7323 §2.2).
  tcb.sender.updateWindow(0, 1, segment.window)
  if (!hasAck) {
    // Both sides opened at once: the SYN-ACK crosses the other's.
    tcb.state = 'syn-received'
    tcb.synOwed = true
    return
  }
  tcb.establish(tcb.timestamps.echoedAt(segment.options, now), now)
  tcb.acks.due = true
  if (segment.payloadLength > 0 || segment.has(TcpFlag.fin)) textArrives(tcb, segment, 1, now)
}

function arrivesSynchronized(tcb: ControlBlock, segment: TcpSegment, now: number): void {
  const position = tcb.peerPosition(segment.sequenceNumber)
  if (tcb.state === 'syn-received' && segment.has(TcpFlag.syn) && position === 0) {
    repeatedSynArrives(tcb, segment, now)
    return
  }
  if (!passesTimestamps(tcb, segment, now)) return
  if (!isAcceptable(tcb, segment, position)) {
    tcb.refusedSegments++
    answerUnacceptable(tcb, segment, position, now)
    return
  }
  if (segment.has(TcpFlag.rst)) {
    // Only the exact number is believed; a guess within the window has to be repeated with it (RFC 5961 §3.2).
    if (position === tcb.receiver.next) resetArrives(tcb)
    else tcb.challenge(now)
    return
  }
  if (segment.has(TcpFlag.syn)) {
    // A peer that restarted answers the acknowledgement with RST (RFC 5961 §4.2).
    tcb.challenge(now)
    return
  }
  if (!segment.has(TcpFlag.ack)) return
  if (!ackArrives(tcb, segment, position, now)) return
  // Only now: whoever guesses a number in the window must not age the timestamps of the peer (RFC 5961 §5.2).
  if (tcb.timestamps.enabled && position <= tcb.lastAckSent) tcb.timestamps.update(segment.options, now)
  tcb.heardAt = now
  tcb.idleProbes = 0
  // The urgent pointer is ignored: urgent data is delivered in its place in the stream (RFC 9293 §3.8.5).
  if (segment.payloadLength > 0 || segment.has(TcpFlag.fin)) textArrives(tcb, segment, position, now)
}

/** The SYN-ACK got lost, or this is the other half of a simultaneous open (RFC 9293 §3.5, figure 8). */
function repeatedSynArrives(tcb: ControlBlock, segment: TcpSegment, now: number): void {
  if (segment.has(TcpFlag.rst)) return
  if (!segment.has(TcpFlag.ack)) tcb.synOwed = true
  else if (!tcb.passive && tcb.position(segment.acknowledgmentNumber) === 1) {
    tcb.heardAt = now
    tcb.sender.updateWindow(0, 1, segment.window)
    tcb.establish(tcb.timestamps.echoedAt(segment.options, now), now)
    tcb.acks.due = true
  }
}

/** RFC 7323 §3.2 and §5.3: a segment without timestamps, or with an old one, is none of this connection's any more. */
function passesTimestamps(tcb: ControlBlock, segment: TcpSegment, now: number): boolean {
  if (!tcb.timestamps.enabled || segment.has(TcpFlag.rst)) return true
  const { options } = segment
  if (options.hasTimestamps && !tcb.timestamps.isOld(options, now)) return true
  tcb.refusedSegments++
  if (options.hasTimestamps) answerUnacceptable(tcb, segment, tcb.peerPosition(segment.sequenceNumber), now)
  return false
}

/**
 * The four cases of RFC 9293 §3.10.7.4, with two kindnesses: an empty segment at the right edge is taken, because the
 * peer that filled the window has no other number to use, and so is the acknowledgement in a segment that begins where
 * it should but finds no window.
 */
function isAcceptable(tcb: ControlBlock, segment: TcpSegment, position: number): boolean {
  const { next, offeredWindow } = tcb.receiver
  const edge = next + offeredWindow
  const length = segment.sequenceLength
  if (length === 0) return position >= next && position <= edge
  if (offeredWindow === 0) return position === next
  return position < edge && position + length > next
}

function answerUnacceptable(tcb: ControlBlock, segment: TcpSegment, position: number, now: number): void {
  if (segment.has(TcpFlag.rst)) return
  const { receiver } = tcb
  const end = position + segment.payloadLength
  if (segment.has(TcpFlag.fin) && tcb.state === 'time-wait') tcb.timeWaitAt = now + tcb.config.timeWaitMs
  // Data that came before: its acknowledgement was lost. Anything else may be part of a loop of two confused peers.
  if (segment.payloadLength > 0 && !segment.has(TcpFlag.syn)) {
    if (tcb.selective && position > 0 && end <= receiver.next) receiver.ranges.noteDuplicate(position, end)
    tcb.acks.due = true
  } else if (segment.has(TcpFlag.fin)) tcb.acks.due = true
  else tcb.challenge(now)
}

function resetArrives(tcb: ControlBlock): void {
  fail(tcb, tcb.state === 'syn-received' && !tcb.passive ? 'refused' : 'reset')
}

/** RFC 9293 §3.10.7.4, fifth. Returns whether the rest of the segment counts. */
function ackArrives(tcb: ControlBlock, segment: TcpSegment, position: number, now: number): boolean {
  const { sender } = tcb
  const acknowledged = tcb.position(segment.acknowledgmentNumber)
  if (tcb.state === 'syn-received') {
    if (acknowledged !== 1 || tcb.synSent === 0) {
      tcb.strayResetNumber = segment.acknowledgmentNumber
      return false
    }
    tcb.establish(tcb.timestamps.echoedAt(segment.options, now), now)
  }
  // Beyond what was sent, or so old that nobody can mean it (RFC 5961 §5.2).
  if (acknowledged > sender.next || acknowledged < sender.unacknowledged - Math.max(sender.maxPeerWindow, 65_535)) {
    tcb.refusedSegments++
    tcb.challenge(now)
    return false
  }
  if (acknowledged < sender.unacknowledged) return true
  const window = segment.window * (1 << tcb.sendScale)
  const duplicate =
    acknowledged === sender.unacknowledged && segment.sequenceLength === 0 && window === sender.peerWindow
  sender.updateWindow(position, acknowledged, window)
  if (tcb.state !== 'time-wait') {
    const room = sender.buffer.room
    sender.handleAck(acknowledged, segment.options, duplicate, tcb.timestamps.echoedAt(segment.options, now), now)
    if (sender.buffer.room > room) noteRoom(tcb)
    if (sender.finAcknowledged) finAcknowledged(tcb, now)
  }
  return tcb.state !== 'closed'
}

/** A writer that had to wait hears of it when a quarter of the buffer is free. */
function noteRoom(tcb: ControlBlock): void {
  const { buffer } = tcb.sender
  if (!tcb.writeBlocked || buffer.room < buffer.limit / 4) return
  tcb.writeBlocked = false
  tcb.outputs.writable = true
}

function finAcknowledged(tcb: ControlBlock, now: number): void {
  if (tcb.state === 'fin-wait-1') tcb.state = 'fin-wait-2'
  else if (tcb.state === 'closing') tcb.enterTimeWait(now)
  else if (tcb.state === 'last-ack') tcb.close()
}

/** RFC 9293 §3.10.7.4, seventh and eighth. */
function textArrives(tcb: ControlBlock, segment: TcpSegment, position: number, now: number): void {
  const { receiver, acks } = tcb
  if (tcb.state !== 'established' && tcb.state !== 'fin-wait-1' && tcb.state !== 'fin-wait-2') {
    acks.due = true
    return
  }
  if (segment.packetBytes > tcb.largestPayload) tcb.largestPayload = segment.packetBytes
  const readable = receiver.readableBytes
  const hadGaps = receiver.ranges.count > 0
  const { next } = receiver
  takePayload(receiver, segment, position)
  if (receiver.next > next) {
    noteInOrder(tcb, segment, position, next)
    if (hadGaps) acks.due = true
    tuneWindow(tcb, segment, now)
  } else for (let packet = 0; packet < segment.packets; packet++) acks.noteOutOfOrder(tcb.selective)
  if (receiver.readableBytes > readable) tcb.outputs.readable = true
  if (receiver.ended) finArrives(tcb, now)
}

function takePayload(receiver: ReceiveBuffer, segment: TcpSegment, position: number): void {
  const { batch } = segment
  const fin = segment.has(TcpFlag.fin)
  let piece = segment.nextPiece
  receiver.receive(position, segment.bytes, segment.payloadOffset, segment.bytesHere, fin && piece === -1)
  if (!batch) return
  position += segment.bytesHere
  while (piece !== -1) {
    const length = batch.lengths[piece]!
    const next = batch.next[piece]!
    receiver.receive(position, segment.bytes, batch.offsets[piece]!, length, fin && next === -1)
    position += length
    piece = next
  }
}

/** What came in order counts as the packets that it came in: those before the last one, and that. */
function noteInOrder(
  { acks, receiver, peerSegmentBytes }: ControlBlock,
  segment: TcpSegment,
  position: number,
  before: number,
): void {
  const lastBegins = position + (segment.packets - 1) * segment.packetBytes
  const end = position + segment.payloadLength
  if (segment.packets > 1 && lastBegins > before && lastBegins < receiver.next) {
    acks.noteInOrder(before, lastBegins - before, peerSegmentBytes)
    acks.noteInOrder(lastBegins, end - lastBegins, peerSegmentBytes)
  } else acks.noteInOrder(before, segment.payloadLength, peerSegmentBytes)
}

/** The round trip as a receiver sees it: from the timestamp that comes back, else from the handshake (RFC 7323 §4). */
function tuneWindow(tcb: ControlBlock, segment: TcpSegment, now: number): void {
  const echoedAt = tcb.timestamps.echoedAt(segment.options, now)
  const { smoothedMs } = tcb.sender.roundTrip
  const roundTrip = echoedAt === -1 ? smoothedMs : Math.min(now - echoedAt, smoothedMs || now - echoedAt)
  tcb.receiver.tune(Math.max(1, roundTrip), now)
}

function finArrives(tcb: ControlBlock, now: number): void {
  tcb.outputs.ended = true
  tcb.acks.due = true
  if (tcb.state === 'established') tcb.state = 'close-wait'
  else if (tcb.state === 'fin-wait-2') tcb.enterTimeWait(now)
  else if (tcb.state === 'fin-wait-1') tcb.state = 'closing'
}

/** The connection is over, and not by FIN. */
export function fail(tcb: ControlBlock, failure: NonNullable<ControlBlock['outputs']['failure']>): void {
  tcb.outputs.failure = failure
  tcb.close()
}

function isBareSyn(segment: TcpSegment): boolean {
  return (segment.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) === TcpFlag.syn
}
