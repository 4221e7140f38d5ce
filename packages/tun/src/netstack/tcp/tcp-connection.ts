import { type PacketBatch, TcpFlag } from '@twinbore/core/packet'
import { ControlBlock } from './control-block.ts'
import { emit, wantsToSend } from './emit.ts'
import type { TcpSegment } from './segment.ts'
import { fail, segmentArrives } from './segment-arrives.ts'
import { isBefore } from './sequence.ts'
import type { TcpConfig, TcpPath } from './tcp-config.ts'
import type { FlowEnd, IcmpErrorKind, TcpOutput, TcpState } from './tcp-events.ts'
import { handleTimeouts, nextDeadline } from './timeouts.ts'

/** The least MTU that an ICMP error is believed to ask for: below it lie attacks, not paths (RFC 1191 §3, RFC 8200 §5). */
const minPathMtu4 = 552
const minPathMtu6 = 1280
const readChunkBytes = 65_536

/**
 * One TCP connection as a machine (RFC 9293), for either side of it. Segments and time go in, segments and a few outputs
 * come out; whoever owns it finds it for each segment, calls `emit` while `wantsToSend`, drains `poll` after every input,
 * and watches `deadline`.
 *
 *        open ──► syn-sent ──┐                 ┌─► fin-wait-1 ─► fin-wait-2 ─► time-wait ─► closed
 *                            ├─► established ──┤        └──────► closing ────────┘
 *   accept ─► dialling ─► syn-received         └─► close-wait ─► last-ack ─────────────────► closed
 *             (confirm)
 *
 * An accepted connection begins in `dialling`: the SYN is held, repeated SYNs are ignored, and nothing is answered until
 * `confirm` (SYN-ACK) or `refuse` (RST): the peer learns what became of the connection behind this one.
 *
 * RST and FIN are never confused: 'ended' says that the peer's stream is complete, 'reset' that it is not, whatever was
 * read before.
 *
 * Memory: buffers take 8 KiB chunks from the budget of the path while they hold something, at least two for each
 * direction whatever the budget says, and at most the send buffer and the receive window.
 */
export class TcpConnection {
  private readonly tcb: ControlBlock

  private constructor(tcb: ControlBlock) {
    this.tcb = tcb
  }

  /** Begins a connection: a SYN goes out with the next `emit`. */
  static open(config: TcpConfig, path: TcpPath, local: FlowEnd, remote: FlowEnd, now: number): TcpConnection {
    const tcb = new ControlBlock(config, path, local, remote, 'syn-sent', now)
    tcb.synOwed = true
    return new TcpConnection(tcb)
  }

  /** Takes a SYN (without ACK and RST). Nothing is answered until `confirm` or `refuse`. */
  static accept(config: TcpConfig, path: TcpPath, syn: TcpSegment, now: number): TcpConnection {
    if ((syn.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) !== TcpFlag.syn)
      throw new TypeError('syn must be a segment with SYN, without ACK and RST')
    const local = { address: syn.destinationAddress(), port: syn.destinationPort }
    const remote = { address: syn.sourceAddress(), port: syn.sourcePort }
    const tcb = new ControlBlock(config, path, local, remote, 'dialling', now)
    tcb.passive = true
    tcb.negotiate(syn.options, syn.sequenceNumber, now)
    tcb.sender.updateWindow(0, 1, syn.window)
    return new TcpConnection(tcb)
  }

  get local(): FlowEnd {
    return this.tcb.local
  }

  get remote(): FlowEnd {
    return this.tcb.remote
  }

  get state(): TcpState {
    return this.tcb.state
  }

  /** Bytes that `read` would return. */
  get readableBytes(): number {
    return this.tcb.receiver.readableBytes
  }

  /** Bytes that `write` would take, if there is memory. */
  get writableBytes(): number {
    return this.mayWrite ? this.tcb.sender.buffer.room : 0
  }

  /** Whether the peer's FIN arrived, and all before it. */
  get peerEnded(): boolean {
    return this.tcb.receiver.ended
  }

  /** Whether the connection is over. There may still be something to read, and a RST to `emit`. */
  get closed(): boolean {
    return this.tcb.state === 'closed'
  }

  /** Bytes of memory that the buffers hold. */
  get heldBytes(): number {
    return this.tcb.sender.buffer.heldBytes + this.tcb.receiver.heldBytes
  }

  /** Answers the SYN. Does nothing unless `dialling`. */
  confirm(_now: number): void {
    if (this.tcb.state !== 'dialling') return
    this.tcb.state = 'syn-received'
    this.tcb.synOwed = true
  }

  /** Refuses the SYN with RST; `silently` leaves the answer (an ICMP error, or none) to the caller. */
  refuse(_now: number, silently = false): void {
    if (this.tcb.state !== 'dialling') return
    this.tcb.resetOwed = !silently
    this.tcb.close()
  }

  /**
   * Whether a segment is a SYN that begins a new connection in place of this one, which the caller then forgets: always
   * when this one is closed; in `time-wait` when the number or the timestamp is above the last (RFC 9293 §3.10.7.4,
   * RFC 6191 §2); while `dialling` when it is not the SYN that is held (the peer gave up and began again).
   */
  isReplacedBy(segment: TcpSegment, now: number): boolean {
    if ((segment.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) !== TcpFlag.syn) return false
    const { tcb } = this
    if (tcb.state === 'closed') return true
    if (tcb.state === 'dialling') return segment.sequenceNumber !== tcb.peerInitial
    if (tcb.state !== 'time-wait') return false
    const { options } = segment
    if (tcb.timestamps.enabled && options.hasTimestamps) {
      if (isBefore(tcb.timestamps.recent, options.timestampValue)) return true
      if (tcb.timestamps.isOld(options, now)) return false
    }
    return tcb.peerPosition(segment.sequenceNumber) > tcb.receiver.next
  }

  /** A segment of this flow arrived. It is only read during the call. */
  handleSegment(segment: TcpSegment, now: number): void {
    segmentArrives(this.tcb, segment, now)
  }

  /** A batch that had segments for this connection ended: what came is acknowledged with the next `emit`. */
  handleBatchEnd(_now: number): void {
    this.tcb.acks.noteBatchEnd()
  }

  /**
   * Queues bytes and returns how many were taken: what fits, 0 after `shutdown` or the end. When that is less than all,
   * 'writable' follows as soon as it is worth trying again. May be called before the handshake is over.
   */
  write(bytes: Uint8Array, now: number): number {
    if (!this.mayWrite) return 0
    const taken = this.tcb.sender.buffer.append(bytes)
    if (taken < bytes.length) this.tcb.writeBlocked = true
    this.tcb.sender.watchWindow(now)
    return taken
  }

  /** Takes bytes in order: a copy of at most `maxBytes` (65536 unless told), `undefined` when there are none. Opens the window. */
  read(maxBytes: number = readChunkBytes): Uint8Array | undefined {
    const length = Math.min(maxBytes, this.readableBytes)
    if (length <= 0) return undefined
    const target = new Uint8Array(length)
    this.readInto(target)
    return target
  }

  /** Like `read`, into memory of the caller. Returns how many bytes. */
  readInto(target: Uint8Array): number {
    const { tcb } = this
    const length = tcb.receiver.read(target)
    const open = tcb.state === 'established' || tcb.state === 'fin-wait-1' || tcb.state === 'fin-wait-2'
    if (length > 0 && open && tcb.receiver.wantsWindowUpdate(tcb.peerSegmentBytes)) tcb.acks.due = true
    return length
  }

  /** Ends our half of the stream: FIN follows what was written. The other half goes on. */
  shutdown(now: number): void {
    const { tcb } = this
    if (tcb.shutdownRequested || tcb.state === 'closed') return
    if (tcb.state === 'dialling') {
      this.refuse(now)
      return
    }
    tcb.shutdownRequested = true
    tcb.sender.finQueued = true
    if (tcb.state === 'established') tcb.state = 'fin-wait-1'
    else if (tcb.state === 'close-wait') tcb.state = 'last-ack'
    tcb.sender.watchWindow(now)
  }

  /** Gives the connection up: RST, unless the peer knows nothing of it. Unsent and unread data is gone. */
  abort(_now: number): void {
    const { tcb } = this
    if (tcb.state === 'closed') return
    tcb.resetOwed = tcb.state !== 'time-wait' && tcb.state !== 'syn-sent'
    tcb.close()
    tcb.receiver.clear()
  }

  /** Ends `time-wait` before its time: another connection has the ends. What was received stays readable. */
  endTimeWait(): void {
    if (this.tcb.state === 'time-wait') this.tcb.close()
  }

  /** Gives all memory back, unread data too. For a closed connection that nobody reads any more. */
  release(): void {
    this.tcb.sender.clear()
    this.tcb.receiver.clear()
  }

  /**
   * Packets to the peer may have at most `mtu` bytes. With the sequence number of the packet that an ICMP error is about,
   * it is believed only if that packet is in flight, and never raises anything (RFC 5927 §7). Without, the caller knows.
   */
  handlePathMtu(mtu: number, sequenceNumber: number | undefined, _now: number): void {
    const { tcb } = this
    if (tcb.state === 'closed') return
    let next = Math.min(mtu, tcb.localMtu)
    if (sequenceNumber !== undefined) {
      if (!this.isInFlight(sequenceNumber) || mtu >= tcb.pathMtu) return
      next = Math.max(mtu, tcb.local.address.length === 4 ? minPathMtu4 : minPathMtu6)
    }
    tcb.pathMtu = next
    tcb.sender.setSegmentBytes(tcb.segmentBytes)
  }

  /**
   * An ICMP error came back for a packet of ours. It ends a handshake, and is only a hint to a connection that works
   * (RFC 5461, RFC 5927 §5).
   */
  handleIcmpError(kind: IcmpErrorKind, sequenceNumber: number, _now: number): void {
    const { tcb } = this
    if (tcb.state !== 'syn-sent' || sequenceNumber !== tcb.initial || tcb.synSent === 0) return
    fail(tcb, kind)
  }

  /** When `handleDeadline` wants to be called next; `undefined` when nothing is pending. */
  get deadline(): number | undefined {
    const at = nextDeadline(this.tcb)
    return at === Number.POSITIVE_INFINITY ? undefined : at
  }

  /** Time has reached `now`. */
  handleDeadline(now: number): void {
    handleTimeouts(this.tcb, now)
  }

  /** Whether `emit` has something to send now. */
  get wantsToSend(): boolean {
    return wantsToSend(this.tcb)
  }

  /**
   * Writes segments into free slots of the batch (owners stay -1) and returns how many; of data at most `maxSegments`, so
   * that others get their turn. Call it again while `wantsToSend`. Slots must have at least the MTU of the path.
   */
  emit(batch: PacketBatch, now: number, maxSegments: number = Number.POSITIVE_INFINITY): number {
    return emit(this.tcb, batch, now, maxSegments)
  }

  /** Takes the next output. Each kind waits at most once; drain after every input. */
  poll(): TcpOutput | undefined {
    return this.tcb.outputs.take()
  }

  private get mayWrite(): boolean {
    const { state, shutdownRequested } = this.tcb
    return !shutdownRequested && state !== 'closed' && state !== 'time-wait' && state !== 'dialling'
  }

  private isInFlight(sequenceNumber: number): boolean {
    const { tcb } = this
    if (tcb.state === 'syn-sent' || tcb.state === 'syn-received') return sequenceNumber === tcb.initial
    const position = tcb.position(sequenceNumber)
    return position >= tcb.sender.unacknowledged && position < tcb.sender.next
  }
}
