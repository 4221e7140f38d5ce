import { IpProtocol, type PacketBatch } from '@twinbore/core/packet'
import { complaintOf } from './icmp/complaints.ts'
import type { FlowResetReason, RefuseReason } from './outputs.ts'
import type { Source, SourceFlow } from './source.ts'
import type { StackContext, StackFlow } from './stack-context.ts'
import type { TcpConnection } from './tcp/tcp-connection.ts'
import type { TcpOutput } from './tcp/tcp-events.ts'

/** What all TCP flows of a stack have in common. */
export interface TcpFlowOwner {
  /** A request was answered or ended. */
  dialEnded(flow: TcpFlow): void
  /** Only TIME-WAIT is left of the flow, and nobody but the stack knows it any more. */
  timeWaitBegan(flow: TcpFlow): void
  /** The flow is out of the table. */
  flowLeft(flow: TcpFlow): void
}

/**
 * One TCP connection in the stack:
 *
 *     dialling --accept--> alive --both FINs, or a reset--> announced --nothing left to send, TIME-WAIT over--> left
 *         \--refuse, RST of the client, request timeout-----^
 *
 * *Announced*: the shell was told `flow-closed`. From then on the flow doesn't count against its source's cap, but its
 * 5-tuple stays taken while the connection still has something to send or is in TIME-WAIT. The other way round, a
 * connection that is over before all was read gives the 5-tuple up and counts until the shell has read the rest.
 */
export class TcpFlow implements StackFlow {
  readonly id: number
  readonly protocol: number = IpProtocol.tcp
  readonly source: Source
  readonly insidePort: number
  readonly outside: Int32Array
  readonly outsidePort: number
  readonly connection: TcpConnection
  isScheduled = false
  nextScheduled: SourceFlow | undefined
  /** Had a segment in the batch that is being handled. */
  isTouched = false
  /** The SYN's packet, while the request waits: what a refusal is about. */
  trigger: Uint8Array | undefined
  private readonly context: StackContext
  private readonly owner: TcpFlowOwner
  private readonly dialDeadline: number | undefined
  private isAnnounced = false
  private hasLeft = false

  constructor(
    context: StackContext,
    owner: TcpFlowOwner,
    place: Pick<TcpFlow, 'id' | 'source' | 'insidePort' | 'outside' | 'outsidePort' | 'trigger'>,
    connection: TcpConnection,
    now: number,
  ) {
    this.context = context
    this.owner = owner
    this.id = place.id
    this.source = place.source
    this.insidePort = place.insidePort
    this.outside = place.outside
    this.outsidePort = place.outsidePort
    this.trigger = place.trigger
    this.connection = connection
    this.dialDeadline = place.trigger && now + context.config.requestTimeoutMs
  }

  /** Waits for `accept` or `refuse`. */
  get isDialling(): boolean {
    return this.trigger !== undefined
  }

  get isOver(): boolean {
    return this.isAnnounced
  }

  get wantsToSend(): boolean {
    return !this.hasLeft && this.connection.wantsToSend
  }

  emit(batch: PacketBatch, now: number, most: number): number {
    return this.hasLeft ? 0 : this.connection.emit(batch, now, most)
  }

  accept(now: number): void {
    this.endDial()
    this.connection.confirm(now)
    this.settle()
  }

  refuse(reason: RefuseReason, now: number, told: FlowResetReason = 'local'): void {
    const complaint = complaintOf[reason]
    const trigger = this.trigger!
    if (complaint && reason !== 'reset') {
      const view = new DataView(trigger.buffer, trigger.byteOffset, trigger.length)
      this.context.errors.complain(this.source, complaint, view, 0, trigger.length, now)
    }
    this.connection.refuse(now, reason !== 'reset')
    this.announce(told)
    this.settle()
  }

  abort(now: number): void {
    this.connection.abort(now)
    this.announce('local')
    this.settle()
  }

  /** Ends the flow without a packet. */
  discard(reason: FlowResetReason, now: number): void {
    this.connection.abort(now)
    this.announce(reason)
    this.leave()
  }

  handleDeadline(now: number): void {
    if (this.isDialling && now >= this.dialDeadline!) {
      this.context.counters.requestsTimedOut++
      this.refuse('host-unreachable', now, 'timed-out')
      return
    }
    this.connection.handleDeadline(now)
    this.settle()
  }

  settle(): void {
    if (this.hasLeft) return
    const { connection, context } = this
    for (let output = connection.poll(); output; output = connection.poll()) this.tell(output)
    const isOver = connection.closed || connection.state === 'time-wait'
    // What arrived and wasn't read keeps the flow: its end must not look like an end of the stream.
    if (isOver && connection.readableBytes === 0) this.announce(undefined)
    else if (connection.closed && !connection.wantsToSend) context.flows.vacate(this)
    if (this.isAnnounced && connection.closed && !connection.wantsToSend) {
      this.leave()
      return
    }
    // Not before the last ACK went out: who is evicted from TIME-WAIT without it leaves the peer in LAST-ACK.
    if (this.isAnnounced && connection.state === 'time-wait' && !connection.wantsToSend) {
      this.owner.timeWaitBegan(this)
    }
    context.timers.set(this.id, this.deadline)
    if (connection.wantsToSend) context.schedule.add(this.source, this)
  }

  /** Another connection begins between the same ends. What was received and not read stays readable. */
  giveWay(): void {
    this.connection.endTimeWait()
    if (this.isAnnounced) this.leave()
    else this.settle()
  }

  /** Takes the flow out of the table. */
  leave(): void {
    if (this.hasLeft) return
    this.hasLeft = true
    const { context } = this
    context.timers.set(this.id, undefined)
    context.flows.remove(this)
    context.sources.removeFlow(this.source, this)
    this.connection.release()
    this.owner.flowLeft(this)
  }

  private get deadline(): number | undefined {
    const { deadline } = this.connection
    if (!this.isDialling || (deadline !== undefined && deadline < this.dialDeadline!)) return deadline
    return this.dialDeadline
  }

  private tell(output: TcpOutput): void {
    if (this.isAnnounced) return
    const { outputs } = this.context
    const flow = this.id
    switch (output.type) {
      case 'established':
        outputs.push({ type: 'flow-established', flow })
        break
      case 'readable':
        outputs.push({ type: 'flow-readable', flow })
        break
      case 'writable':
        outputs.push({ type: 'flow-writable', flow })
        break
      case 'ended':
        outputs.push({ type: 'flow-ended', flow })
        break
      case 'reset':
        this.announce('peer')
        break
      case 'refused':
        this.announce('refused')
        break
      case 'unreachable':
        outputs.push({ type: 'icmp-error', flow, kind: output.kind })
        this.announce('unreachable')
        break
      case 'timed-out':
        this.announce('timed-out')
        break
      case 'closed':
        // Told when everything was read, see `settle`.
        break
    }
  }

  private announce(reason: FlowResetReason | undefined): void {
    if (this.isAnnounced) return
    this.isAnnounced = true
    this.source.tcpFlows--
    this.endDial()
    this.context.announceEnd(this.id, reason)
  }

  private endDial(): void {
    if (!this.isDialling) return
    this.trigger = undefined
    this.owner.dialEnded(this)
  }
}
