import { DropReason, IpProtocol, type PacketBatch, UDP_HEADER_BYTES, UdpField } from '@twinbore/core/packet'
import { isV4, textOfWords } from '../address-words.ts'
import { type Complaint, complaintOf } from '../icmp/complaints.ts'
import type { FlowResetReason, NetStackEndpoint, RefuseReason } from '../outputs.ts'
import type { Source, SourceFlow } from '../source.ts'
import type { StackContext, StackFlow } from '../stack-context.ts'

/** A datagram that waits for `accept`. */
interface HeldDatagram {
  readonly remote: NetStackEndpoint
  readonly bytes: Uint8Array
}

const nothing = new Uint8Array(0)
const nowhere = new Int32Array(4)
/** Kept per queued packet or held datagram beside its bytes. */
const overheadBytes = 64

/** An inside endpoint that sends and receives datagrams, whoever is at the other end (RFC 4787 REQ-1). */
export class UdpFlow implements StackFlow {
  readonly id: number
  readonly protocol: number = IpProtocol.udp
  readonly source: Source
  readonly insidePort: number
  readonly outside: Int32Array = nowhere
  readonly outsidePort: number = 0
  isScheduled = false
  nextScheduled: SourceFlow | undefined
  /** Somebody has to say first whether the flow is wanted. */
  isRequested: boolean
  /** The first datagram's packet, its beginning: what a refusal is about. */
  readonly trigger: Uint8Array | undefined
  /** Packets that are longer go out in pieces: the source's MTU, or less where a router said so. */
  private pathMtu = Number.POSITIVE_INFINITY
  private readonly context: StackContext
  private readonly onEnd: () => void
  private held: HeldDatagram[] = []
  /** Whole packets that wait for `drain`; the first one is at `head`. */
  private queue: Uint8Array[] = []
  private head = 0
  private queuedBytes = 0
  private heldBytes = 0
  private wasRefusedRoom = false
  private idleTimeoutMs = 0
  private expiresAt = Number.POSITIVE_INFINITY
  private hasTimer = false
  private hasEnded = false

  constructor(
    context: StackContext,
    id: number,
    source: Source,
    port: number,
    trigger: Uint8Array | undefined,
    onEnd: () => void,
  ) {
    this.context = context
    this.onEnd = onEnd
    this.id = id
    this.source = source
    this.insidePort = port
    this.trigger = trigger
    this.isRequested = trigger !== undefined
  }

  get isOver(): boolean {
    return this.hasEnded
  }

  get wantsToSend(): boolean {
    return this.head < this.queue.length
  }

  /** How many bytes of packets still fit the queue. */
  get room(): number {
    return Math.max(0, this.context.config.limits.maxQueuedBytesPerUdpFlow - this.queuedBytes - overheadBytes)
  }

  /** A datagram came from inside (gateway) or for the bound endpoint (client). Returns 0 or why it was dropped. */
  receive(remoteAddress: Int32Array, remotePort: number, payload: Uint8Array): 0 | DropReason {
    const remote = { address: textOfWords(remoteAddress), port: remotePort }
    if (!this.isRequested) {
      this.context.outputs.push({ type: 'datagram', flow: this.id, remote, bytes: payload })
      return 0
    }
    const cost = payload.length + overheadBytes
    if (this.held.length >= this.context.config.limits.maxHeldDatagrams || !this.source.memory.reserve(cost)) {
      this.context.counters.heldDatagramsDropped++
      return DropReason.queueFull
    }
    this.heldBytes += cost
    this.held.push({ remote, bytes: payload })
    return 0
  }

  /** Something was sent from inside to a port: only that keeps the flow alive (RFC 4787 REQ-6). */
  refresh(remotePort: number, now: number): void {
    const { udpIdleTimeoutMs, udpIdleTimeoutMsByPort } = this.context.config
    // Once a flow was used for something else it isn't a short-lived one any more.
    this.idleTimeoutMs = Math.max(this.idleTimeoutMs, udpIdleTimeoutMsByPort[remotePort] ?? udpIdleTimeoutMs)
    this.expiresAt = now + this.idleTimeoutMs
    this.settle()
  }

  accept(): void {
    this.isRequested = false
    for (const datagram of this.held) this.context.outputs.push({ type: 'datagram', flow: this.id, ...datagram })
    this.dropHeld()
    this.settle()
  }

  /** Queues a message to or from `remote`. */
  send(remoteAddress: Int32Array, remotePort: number, payload: Uint8Array): boolean {
    const { config, counters, writer } = this.context
    const isGateway = config.acceptAnyDestination
    const message = isGateway
      ? udpMessage(remotePort, this.insidePort, payload)
      : udpMessage(this.insidePort, remotePort, payload)
    const from = isGateway ? remoteAddress : this.source.words
    const to = isGateway ? this.source.words : remoteAddress
    if (this.hasEnded) return false
    const packets = writer.packets(from, to, this.protocol, message, Math.min(this.source.mtu, this.pathMtu))
    const cost = packets.reduce((sum, packet) => sum + packet.length + overheadBytes, 0)
    if (this.queuedBytes + cost > config.limits.maxQueuedBytesPerUdpFlow || !this.source.memory.reserve(cost)) {
      counters.datagramsDropped++
      this.wasRefusedRoom = true
      return false
    }
    this.queuedBytes += cost
    this.queue.push(...packets)
    this.context.schedule.add(this.source, this)
    this.settle()
    return true
  }

  /** Says why the requested flow isn't wanted, and ends it. */
  refuse(reason: RefuseReason, now: number): void {
    const complaint = complaintOf[reason]
    const { trigger, source } = this
    if (complaint && trigger) {
      this.context.errors.complain(source, complaint, new DataView(trigger.buffer), 0, trigger.length, now)
    }
    this.end('local')
  }

  /** Complains about a datagram from the inside endpoint to `remote`. It is gone: its headers are written anew. */
  complain(complaint: Complaint, remoteAddress: Int32Array, remotePort: number, now: number): void {
    const message = udpMessage(this.insidePort, remotePort, nothing)
    const { source, context } = this
    const [packet] = context.writer.packets(source.words, remoteAddress, this.protocol, message, source.mtu)
    context.errors.complain(source, complaint, new DataView(packet!.buffer), 0, packet!.length, now)
  }

  emit(batch: PacketBatch, _now: number, most: number): number {
    const before = batch.count
    while (this.head < this.queue.length && !batch.full && batch.count < before + most) {
      const packet = this.queue[this.head++]!
      if (batch.push(packet) === -1) this.context.counters.datagramsDropped++
      this.queuedBytes -= packet.length + overheadBytes
      this.source.memory.unreserve(packet.length + overheadBytes)
    }
    if (this.head === this.queue.length) {
      this.queue = []
      this.head = 0
    }
    return batch.count - before
  }

  /** A router or the receiver said that a packet was too long. */
  handlePathMtu(mtu: number): void {
    // IPv4 packets may be cut on their way, so they aren't cut here for the sake of one of many remotes.
    if (!isV4(this.source.words)) this.pathMtu = Math.max(1280, Math.min(this.pathMtu, mtu))
  }

  settle(): void {
    if (this.hasEnded) return
    if (this.wasRefusedRoom && this.queuedBytes * 2 <= this.context.config.limits.maxQueuedBytesPerUdpFlow) {
      this.wasRefusedRoom = false
      this.context.outputs.push({ type: 'flow-writable', flow: this.id })
    }
    if (this.expiresAt === Number.POSITIVE_INFINITY) return
    // Set early and looked at again when it is reached: a datagram costs no heap operation.
    if (!this.hasTimer) {
      this.hasTimer = true
      this.context.timers.set(this.id, this.expiresAt)
    }
  }

  handleDeadline(now: number): void {
    this.hasTimer = false
    if (now >= this.expiresAt) {
      this.context.counters.udpFlowsExpired++
      this.end('idle')
    } else this.settle()
  }

  /** Ends the flow and tells the shell. */
  end(reason: FlowResetReason): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.isRequested = false
    const { context, source } = this
    this.dropHeld()
    source.memory.unreserve(this.queuedBytes)
    this.queuedBytes = 0
    this.queue = []
    this.head = 0
    context.timers.set(this.id, undefined)
    context.flows.remove(this)
    source.udpFlows--
    context.sources.removeFlow(source, this)
    this.onEnd()
    context.announceEnd(this.id, reason)
  }

  private dropHeld(): void {
    this.source.memory.unreserve(this.heldBytes)
    this.heldBytes = 0
    this.held = []
  }
}

function udpMessage(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(UDP_HEADER_BYTES + payload.length)
  const view = new DataView(message.buffer)
  view.setUint16(UdpField.sourcePort, sourcePort)
  view.setUint16(UdpField.destinationPort, destinationPort)
  view.setUint16(UdpField.length, message.length)
  message.set(payload, UDP_HEADER_BYTES)
  return message
}
