import { AckPolicy } from './ack-policy.ts'
import { PendingOutputs } from './pending-outputs.ts'
import { ReceiveBuffer } from './receive-buffer.ts'
import { SegmentWriter } from './segment-writer.ts'
import { Sender } from './sender.ts'
import { toPosition } from './sequence.ts'
import type { TcpConfig, TcpPath } from './tcp-config.ts'
import type { FlowEnd, TcpState } from './tcp-events.ts'
import type { TcpOptionValues } from './tcp-options.ts'
import { TIMESTAMPS_BYTES } from './tcp-options.ts'
import { Timestamps } from './timestamps.ts'

export const never: number = Number.POSITIVE_INFINITY

/** Segment sizes to assume of a peer that does not say (RFC 9293 §3.7.1), and the smallest that is believed. */
const defaultMss4 = 536
const defaultMss6 = 1220
const minMss = 48

/** Acknowledgements of what is not acceptable: so many in so long (RFC 5961 §7). */
const challengeLimit = 10
const challengePeriodMs = 5000

/**
 * All that a connection remembers (the TCB of RFC 9293 §3.3.1), shared by the files that each do one thing to it:
 * `segment-arrives` (what comes), `emit` (what goes), `timeouts` (when nothing comes), `tcp-connection` (what the user
 * wants). Positions of the peer's stream count from `peerInitial`, ours from `initial`.
 */
export class ControlBlock {
  readonly config: TcpConfig
  readonly local: FlowEnd
  readonly remote: FlowEnd
  readonly writer: SegmentWriter
  readonly sender: Sender
  readonly receiver: ReceiveBuffer
  readonly acks: AckPolicy = new AckPolicy()
  readonly timestamps: Timestamps
  readonly outputs: PendingOutputs = new PendingOutputs()
  state: TcpState
  /** ISS and IRS. */
  readonly initial: number
  peerInitial = 0
  /** Whether the peer began. */
  passive = false
  /** The longest packet for the peer. */
  pathMtu: number
  readonly localMtu: number

  // Handshake.
  /** A SYN or SYN-ACK is to be sent. */
  synOwed = false
  synSent = 0
  synSentAt = 0
  synStartedAt = 0
  synAt: number = never
  peerMss = -1
  /** What windows are shifted by: those of the peer, and ours. */
  sendScale = 0
  receiveScale = 0
  scaling = false
  selective = false
  /** The user is done writing, maybe before the handshake was. */
  shutdownRequested = false
  /** A `write` took less than it was given. */
  writeBlocked = false

  // What is to be sent besides data and acknowledgements.
  resetOwed = false
  /** Number of a RST for a segment that can't belong to this connection; -1 for none. */
  strayResetNumber = -1
  idleProbeOwed = false

  // Time.
  /** When the peer was last heard. */
  heardAt: number
  idleAt: number = never
  idleProbes = 0
  timeWaitAt: number = never

  /** The largest piece of data that came: what the peer's full-sized segment is. */
  largestPayload = 0
  /** Last.ACK.sent of RFC 7323. */
  lastAckSent = 0
  /** Segments that were ignored because they could not be right. */
  refusedSegments = 0
  private challenges = 0
  private challengesSince: number = Number.NEGATIVE_INFINITY

  constructor(config: TcpConfig, path: TcpPath, local: FlowEnd, remote: FlowEnd, state: TcpState, now: number) {
    this.config = config
    this.local = local
    this.remote = remote
    this.state = state
    this.pathMtu = path.mtu
    this.localMtu = path.mtu
    this.heardAt = now
    this.initial = config.initialSequences.sequenceNumber(local, remote, now) >>> 0
    this.timestamps = new Timestamps(config.initialSequences.timestampOffset(local, remote) >>> 0)
    this.writer = new SegmentWriter(local, remote)
    this.sender = new Sender(config, path.memory, this.initial)
    this.receiver = new ReceiveBuffer(path.memory, config.initialReceiveWindow, config.maxReceiveWindow)
  }

  /** The MSS that is announced: what the tunnel carries without options (RFC 9293 §3.7.1). */
  get announcedMss(): number {
    return Math.max(minMss, Math.min(65_535, this.localMtu - this.writer.headerBytes))
  }

  /** The most data in one segment, timestamps taken off. */
  get segmentBytes(): number {
    const assumed = this.local.address.length === 4 ? defaultMss4 : defaultMss6
    const peer = this.peerMss === -1 ? assumed : Math.max(minMss, this.peerMss)
    const fitting = Math.max(minMss, this.pathMtu - this.writer.headerBytes)
    return Math.min(peer, fitting) - (this.timestamps.enabled ? TIMESTAMPS_BYTES : 0)
  }

  /** What a full-sized segment of the peer carries, as far as is known. */
  get peerSegmentBytes(): number {
    return Math.max(this.largestPayload, Math.min(defaultMss4, this.announcedMss) - TIMESTAMPS_BYTES)
  }

  /** Where a sequence number of the peer is in its stream. */
  peerPosition(sequenceNumber: number): number {
    return toPosition(sequenceNumber, this.peerInitial, this.receiver.next)
  }

  /** Where an acknowledgment number is in our stream. */
  position(acknowledgmentNumber: number): number {
    return toPosition(acknowledgmentNumber, this.initial, this.sender.unacknowledged)
  }

  /** Takes over what the peer's SYN says (RFC 7323 §2.2, §3.2, RFC 2018 §2). */
  negotiate(options: TcpOptionValues, sequenceNumber: number, now: number): void {
    const { config } = this
    this.peerInitial = sequenceNumber
    this.peerMss = options.mss
    this.selective = config.selectiveAcknowledgments && options.sackPermitted
    this.scaling = config.windowScaling && options.windowScale !== -1
    this.sendScale = this.scaling ? options.windowScale : 0
    this.receiveScale = this.scaling ? config.windowScale : 0
    this.receiver.capWindow(65_535 * 2 ** this.receiveScale)
    this.timestamps.enabled = config.timestamps && options.hasTimestamps
    if (this.timestamps.enabled) this.timestamps.accept(options.timestampValue, now)
  }

  /** The handshake is complete; `echoedAt` is when our segment was sent that the peer answers, -1 when not known. */
  establish(echoedAt: number, now: number): void {
    this.state = this.shutdownRequested ? 'fin-wait-1' : 'established'
    // Karn: a SYN that was sent twice measures nothing. Lost twice, it says that the path is bad (RFC 5681 §3.1).
    const { roundTrip } = this.sender
    if (this.synSent === 1) roundTrip.sample(now - this.synSentAt, 1, now)
    else if (echoedAt !== -1) roundTrip.sample(now - echoedAt, 1, now)
    else roundTrip.beCautious()
    this.sender.begin(this.segmentBytes, this.selective, this.synSent > 2)
    this.synAt = never
    this.synOwed = false
    this.idleAt = now + this.config.idleMs
    this.outputs.established = true
  }

  /** Acknowledges something that is not acceptable, unless there was too much of that. */
  challenge(now: number): void {
    if (now - this.challengesSince >= challengePeriodMs) {
      this.challengesSince = now
      this.challenges = 0
    }
    if (this.challenges++ < challengeLimit) this.acks.due = true
  }

  enterTimeWait(now: number): void {
    this.state = 'time-wait'
    this.timeWaitAt = now + this.config.timeWaitMs
    this.idleAt = never
    this.sender.clear()
  }

  /** Ends the connection. What arrived can still be read. */
  close(): void {
    this.state = 'closed'
    this.synAt = never
    this.idleAt = never
    this.timeWaitAt = never
    this.synOwed = false
    this.idleProbeOwed = false
    this.acks.due = false
    this.sender.clear()
    this.outputs.closed = true
  }
}
